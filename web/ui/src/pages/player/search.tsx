import { useEffect, useState, type Ref } from 'react';
import type { Engine } from '../../player/engine';
import type { Playback } from '../../player/playback';
import { MOST_HITS, type Hit } from '../../player/search';
import { player as words } from '../../strings/player';
import { SearchField } from '../../ui';
import { Stamp } from './side';

export interface Found {
  hits: readonly Hit[];
  done: boolean;
}

const TYPING_MS = 250;

/** Looks for a text in what was read. Searches again when more was read by the time one typed. */
export function useFound(engine: Engine, query: string): Found | undefined {
  const [found, set] = useState<Found>();
  const text = query.trim();
  useEffect(() => {
    set(undefined);
    if (text === '') return;
    const control = new AbortController();
    const timer = setTimeout(() => {
      void engine.search(text, (hits, done) => set({ hits, done }), control.signal);
    }, TYPING_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [engine, text]);
  return found;
}

type Props = { query: string; onQuery: (text: string) => void; found: Found | undefined; playback: Playback; reading: boolean; field: Ref<HTMLInputElement> };

export function SearchPane({ query, onQuery, found, playback, reading, field }: Props) {
  return (
    <>
      <SearchField ref={field} label={words.searchLabel} value={query} onValue={onQuery} />
      <p className="small soft" role="status">
        {query.trim() === '' ? words.searchHelp : found === undefined ? words.searching : words.hits(found.hits.length, found.done)}
        {found && found.hits.length >= MOST_HITS ? ` ${words.tooMany}` : ''}
        {found?.done && reading ? ` ${words.searchUntil}` : ''}
      </p>
      {found && found.hits.length > 0 && (
        <ol className="moments">
          {found.hits.map((hit, i) => (
            <li key={`${hit.after} ${i}`}>
              <button type="button" className="moment" onClick={() => playback.seek(hit.at)}>
                <Stamp at={hit.at} playback={playback} />
                <code className="grow break hit">{hit.text.slice(0, hit.from)}<mark>{hit.text.slice(hit.from, hit.to)}</mark>{hit.text.slice(hit.to)}</code>
              </button>
            </li>
          ))}
        </ol>
      )}
    </>
  );
}
