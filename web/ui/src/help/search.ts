import MiniSearch from 'minisearch';
import type { HelpPage } from '../../build/help';

export interface HelpHit {
  id: string;
  page: string;
  title: string;
  section: string;
  href: string;
  /** A part of the text around the first word that was found. */
  excerpt: string;
}

interface Entry {
  id: string;
  page: string;
  title: string;
  section: string;
  text: string;
}

const MOST = 40;
const EXCERPT = 160;

export function excerpt(text: string, words: readonly string[]): string {
  const lower = text.toLowerCase();
  const at = words.map((word) => lower.indexOf(word.toLowerCase())).filter((i) => i >= 0).sort((a, b) => a - b)[0] ?? 0;
  const start = at < 60 ? 0 : lower.lastIndexOf(' ', at - 50) + 1;
  const end = start + EXCERPT;
  return `${start > 0 ? '… ' : ''}${text.slice(start, end).trim()}${end < text.length ? ' …' : ''}`;
}

/** Finds sections of the documentation by their words: the beginnings of words, and words with a typing error. */
export function searcher(pages: readonly HelpPage[]): (query: string) => HelpHit[] {
  const entries = pages.flatMap((page) =>
    page.sections.map((section): Entry => ({ id: `${page.slug}#${section.id}`, page: page.slug, title: page.title, section: section.title, text: section.text.replace(/\s+/g, ' ') })),
  );
  const byId = new Map(entries.map((entry) => [entry.id, entry]));
  const index = new MiniSearch<Entry>({ fields: ['section', 'title', 'text'], searchOptions: { boost: { section: 4, title: 2 }, prefix: true, fuzzy: (term) => (term.length > 5 ? 0.2 : false), combineWith: 'AND' } });
  index.addAll(entries);
  return (query) =>
    index.search(query).slice(0, MOST).flatMap((result): HelpHit[] => {
      const entry = byId.get(result.id as string);
      return entry ? [{ id: entry.id, page: entry.page, title: entry.title, section: entry.section, href: `/help/${entry.page}#${entry.id.split('#')[1]}`, excerpt: excerpt(entry.text, result.terms) }] : [];
    });
}
