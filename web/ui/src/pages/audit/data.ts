import { useEffect, useMemo, useRef, useState } from 'react';
import { api, call, json, usePages, useQuery, type AuditState } from '../../api';
import { canBeLive, query, type Filter, type Search } from '../../audit/filter';
import type { AuditItem } from '../../audit/sentence';
import { askFrom, merge } from '../../audit/tail';

const PAGE = 100;
const TAIL_MS = 2000;
const STATE_MS = 60_000;

const ask = (search: Search, signal: AbortSignal) => call(api.GET('/v1/audit/events', { params: { query: search }, signal }));

/** The events of a filter, newest first, in pages; and with `live` those that come while one looks. */
export function useEvents(filter: Filter, live: boolean) {
  // The moment at which this filter was set: what is asked does not change while the clock goes on.
  const asked = JSON.stringify(filter);
  const now = useMemo(() => new Date(), [asked]); // eslint-disable-line react-hooks/exhaustive-deps -- the filter is what it depends on
  const search = query(filter, now);
  const pages = usePages<AuditItem>(
    search,
    async (cursor, signal) => {
      const page = await ask({ ...search, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) }, signal);
      return { items: page.items, next: page.cursor };
    },
    {},
  );
  const [fresh, setFresh] = useState<{ of: string; items: readonly AuditItem[] }>({ of: '', items: [] });
  const mine = fresh.of === asked ? fresh.items : [];
  const loaded = pages.data;
  const items = loaded && (mine.length === 0 ? loaded : [...merge(loaded, mine)]);
  const newest = useRef<readonly AuditItem[]>([]);
  newest.current = items ?? [];
  const running = live && loaded !== undefined && canBeLive(filter, now);

  useEffect(() => {
    if (!running) return;
    const control = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const poll = async () => {
      try {
        // From a minute before the newest on; of a busy minute several pages, until nothing more comes.
        let cursor: string | undefined;
        do {
          const from = askFrom(newest.current, now);
          const page = await ask({ ...query(filter, now), from, oldest_first: true, limit: 1000, ...(cursor ? { cursor } : {}) }, control.signal);
          if (control.signal.aborted) return;
          const all = merge(newest.current, page.items);
          if (all !== newest.current) {
            const known = new Set((loaded ?? []).map((item) => item.seq));
            setFresh({ of: asked, items: all.filter((item) => !known.has(item.seq)) });
          }
          cursor = page.items.length === 1000 ? page.cursor : '';
        } while (cursor);
      } catch {
        // The next attempt says it, or the reader's own search.
      }
      if (!control.signal.aborted) timer = setTimeout(() => (document.hidden ? (timer = setTimeout(() => void poll(), TAIL_MS)) : void poll()), TAIL_MS);
    };
    timer = setTimeout(() => void poll(), TAIL_MS);
    return () => {
      control.abort();
      clearTimeout(timer);
    };
  }, [running, asked]); // eslint-disable-line react-hooks/exhaustive-deps -- the filter is in `asked`

  return { ...pages, data: items as AuditItem[] | undefined, search, running };
}

export function useChain() {
  return useQuery('audit state', (signal) => json<AuditState>('GET', '/v1/audit/state', { signal }), { poll: STATE_MS });
}
