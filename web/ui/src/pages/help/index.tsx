import { useEffect, useMemo } from 'react';
import { Link, useLocation, useParams } from 'wouter';
import pages from 'virtual:help';
import { searcher, type HelpHit } from '../../help/search';
import { Tree } from '../../help/tree';
import { useUrlParams } from '../../lib/url';
import { help as words } from '../../strings/help';
import { Empty, IconSearch, Page, PageHeader, SearchField } from '../../ui';
import './help.css';

export default function HelpPage() {
  const params = useParams();
  const slug = params['*'] || pages[0]?.slug;
  const page = pages.find((one) => one.slug === slug);
  const [search, set] = useUrlParams();
  const [, go] = useLocation();
  const find = useMemo(() => searcher(pages), []);
  const query = search.get('q') ?? '';
  const hits = useMemo(() => (query.trim() === '' ? undefined : find(query)), [find, query]);
  useHash(slug ?? '', hits === undefined);
  return (
    <Page>
      <PageHeader title={hits ? words.title : (page?.title ?? words.noPage)} about={page === pages[0] || hits ? words.about : undefined} crumbs={hits || page === pages[0] ? undefined : <Link href="/help">{words.title}</Link>} />
      <div className="help">
        <nav className="help-nav" aria-label={words.pages}>
          <SearchField label={words.search} value={query} onValue={(q) => set({ q })} />
          <ul className="help-pages">
            {pages.map((one) => (
              <li key={one.slug}><Link href={`/help/${one.slug}`} className="help-page" aria-current={!hits && one === page ? 'page' : undefined}>{one.title}</Link></li>
            ))}
          </ul>
        </nav>
        {hits
          ? <Hits hits={hits} />
          : page
            ? <article className="help-text"><Contents page={page} onGo={(id) => go(`/help/${page.slug}#${id}`)} /><Tree nodes={page.nodes} /></article>
            : <Empty icon={<IconSearch size={32} />} title={words.noPage} />}
      </div>
    </Page>
  );
}

function Hits({ hits }: { hits: HelpHit[] }) {
  if (hits.length === 0) return <Empty icon={<IconSearch size={32} />} title={words.nothing}>{words.nothingHelp}</Empty>;
  return (
    <div className="stack">
      <p className="small soft" role="status">{words.results(hits.length)}</p>
      <ul className="help-hits">
        {hits.map((hit) => (
          <li key={hit.id}>
            <Link href={hit.href} className="help-hit">
              <span className="help-hit-title">{hit.section}{hit.section !== hit.title && <span className="faint"> · {hit.title}</span>}</span>
              <span className="small soft break">{hit.excerpt}</span>
            </Link>
          </li>
        ))}
      </ul>
    </div>
  );
}

function Contents({ page, onGo }: { page: (typeof pages)[number]; onGo: (id: string) => void }) {
  const parts = page.sections.filter((section) => section.level === 2);
  if (parts.length < 3) return null;
  return (
    <nav className="help-contents" aria-label={words.onPage}>
      <h2 className="small soft">{words.onPage}</h2>
      <ul>
        {parts.map((part) => <li key={part.id}><a href={`#${part.id}`} onClick={() => onGo(part.id)}>{part.title}</a></li>)}
      </ul>
    </nav>
  );
}

/** Goes to the heading that the address names, which is there only now. */
function useHash(slug: string, shown: boolean): void {
  useEffect(() => {
    if (!shown) return;
    const go = () => {
      const id = decodeURIComponent(location.hash.slice(1));
      const heading = id === '' ? null : document.getElementById(id);
      heading?.scrollIntoView({ block: 'start' });
      heading?.focus({ preventScroll: true });
    };
    const timer = setTimeout(go);
    window.addEventListener('hashchange', go);
    return () => {
      clearTimeout(timer);
      window.removeEventListener('hashchange', go);
    };
  }, [slug, shown]);
}
