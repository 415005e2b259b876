import { useEffect, useState, type FormEvent } from 'react';
import { Link } from 'wouter';
import { useMay } from '../../app/session';
import { exact } from '../../lib/format';
import { shownMoment } from '../../player/link';
import { sessions as words } from '../../strings/sessions';
import { Button, Empty, Failed, IconSearch, Note, SearchField, Skeleton } from '../../ui';
import { placeUrl, useHits, type Filter, type Hits } from './data';

/** A search in what the recordings show. It begins when it is sent, not while one types: each is written into the audit log. */
export function Found({ text, filter, onText }: { text: string; filter: Filter; onText: (text: string) => void }) {
  const [typed, type] = useState(text);
  useEffect(() => type(text), [text]);
  const mayNot = useMay('recording', 'read');
  const found = useHits(mayNot ? '' : text, filter);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (typed.trim() !== text) onText(typed.trim());
    else if (text !== '') found.reload();
  };
  if (mayNot) return <div className="session-found"><Note tone="plain">{mayNot}</Note></div>;
  return (
    <div className="session-found">
      <form className="row" onSubmit={submit}>
        <div className="grow"><SearchField label={words.find} value={typed} onValue={type} maxLength={256} /></div>
        <Button look="primary" type="submit" icon={<IconSearch />} busy={found.refreshing && text !== ''} disabled={typed.trim() === ''}>{words.findVerb}</Button>
      </form>
      <p className="small soft">{words.findHelp}</p>
      {text !== '' && <Results found={found} />}
    </div>
  );
}

function Results({ found }: { found: ReturnType<typeof useHits> }) {
  if (found.data === undefined) return found.error ? <Failed error={found.error} retry={found.reload} /> : <Skeleton lines={4} height="28px" />;
  const parts = found.data;
  const hits = parts.flatMap((part) => part.items);
  const more = new Set(parts.flatMap((part) => part.more_in));
  const gaps = parts.flatMap((part) => part.gaps);
  const reached = parts.findLast((part) => part.reached)?.reached;
  const searched = parts.reduce((sum, part) => sum + part.searched, 0);
  return (
    <>
      <p className="small" role="status">{words.foundIn(hits.length, searched, found.more && reached ? exact(new Date(reached)) : '')}</p>
      {hits.length === 0 && !found.more && <Empty icon={<IconSearch size={32} />} title={words.foundNothing}>{words.foundNothingHelp}</Empty>}
      {hits.length > 0 && (
        <ol className="session-hits">
          {hits.map((hit, i) => <HitItem key={`${hit.session} ${hit.at_ms} ${i}`} hit={hit} last={more.has(hit.session) && hits[i + 1]?.session !== hit.session} />)}
        </ol>
      )}
      {gaps.length > 0 && <Note tone="warn" title={words.gaps(gaps.length)}>{gaps.slice(0, 5).map((gap) => `${gap.session}: ${gap.why}`).join(' · ')}</Note>}
      {found.error && <Failed error={found.error} retry={found.loadMore} />}
      {found.more && <div><Button busy={found.loadingMore} onClick={found.loadMore}>{words.findOn}</Button></div>}
    </>
  );
}

function HitItem({ hit, last }: { hit: Hits['items'][number]; last: boolean }) {
  // As it was shown: the player heeds capitals where one types some.
  const url = placeUrl(hit.session, hit.at_ms, hit.found);
  return (
    <li>
      <Link href={url} className="session-hit">
        <span className="row-wrap small">
          <span>{words.whoAt(hit.user, hit.login, hit.host)}</span>
          <span className="soft">{exact(new Date(new Date(hit.started).getTime() + hit.at_ms), true)}</span>
          <span className="faint">{shownMoment(hit.at_ms)}</span>
        </span>
        <code className="break">{hit.before}<mark>{hit.found}</mark>{hit.rest}</code>
      </Link>
      {last && <Link href={url} className="small">{words.moreInside}</Link>}
    </li>
  );
}
