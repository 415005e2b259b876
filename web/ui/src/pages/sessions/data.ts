import { useMemo } from 'react';
import { api, call, usePages, useQuery, type Schema } from '../../api';
import { useMay } from '../../app/session';
import { useMayAudit } from '../../audit/may';
import { sessions as words } from '../../strings/sessions';

export type Live = Schema<'LiveSession'>;
export type Recording = Schema<'RecordingSpec'>;
export type Participant = Schema<'SessionParticipant'>;
export type Hits = Schema<'RecordingHits'>;

const LIVE_POLL_MS = 3000;
const ENDED_POLL_MS = 15_000;
const PAGE = 50;

export function useLive() {
  return useQuery('sessions', (signal) => call(api.GET('/v1/sessions', { signal })).then((page) => page.items), { poll: LIVE_POLL_MS });
}

/** What the list is narrowed to, as the address says it. */
export interface Filter {
  q: string;
  user: string;
  host: string;
  login: string;
  /** Days, as the browser's field writes them: `2026-03-01`. */
  since: string;
  until: string;
}

const DAY = /^\d{4}-\d\d-\d\d$/;
const FIELDS = ['q', 'user', 'host', 'login', 'since', 'until'] as const;

export function readFilter(params: URLSearchParams): Filter {
  const get = (name: string) => (params.get(name) ?? '').trim();
  const day = (name: string) => (DAY.test(get(name)) && !Number.isNaN(Date.parse(get(name))) ? get(name) : '');
  return { q: get('q'), user: get('user'), host: get('host'), login: get('login'), since: day('since'), until: day('until') };
}

export const isNarrowed = (filter: Filter): boolean => FIELDS.some((name) => filter[name] !== '');

/** The filter as the node takes it: from the first moment of a day here to the last of another. */
export function queryOf({ since, until, ...texts }: Filter): Record<string, string> {
  const midnight = (day: string, plus: number) => {
    const at = new Date(`${day}T00:00:00`);
    at.setDate(at.getDate() + plus);
    return at.toISOString();
  };
  const query = { ...texts, since: since && midnight(since, 0), until: until && midnight(until, 1) };
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== ''));
}

export function useRecordings(filter: Filter) {
  return usePages<Recording>(
    ['recordings', filter],
    async (after, signal) => {
      const query = { ...queryOf(filter), limit: PAGE, ...(after === undefined ? {} : { after }) };
      const page = await call(api.GET('/v1/recordings', { params: { query }, signal }));
      return { items: page.items.map((item) => item.recording), next: page.next };
    },
    { poll: ENDED_POLL_MS },
  );
}

/** Looks for a text in what the recordings show, a part at a time: each part is a page, and an event of the audit log. */
export function useHits(text: string, filter: Filter) {
  const narrowed = { ...filter, q: '' };
  return usePages<Hits>(text === '' ? null : ['hits', text, narrowed], async (after, signal) => {
    const query = { ...queryOf(narrowed), q: text, ...(after === undefined ? {} : { after }) };
    const part = await call(api.GET('/v1/recordings/search', { params: { query }, signal }));
    return { items: [part], next: part.next ?? '' };
  });
}

/** Where a place in a recording is played: at that moment, with the text looked for. */
export function placeUrl(session: string, ms: number, text: string): string {
  return `/recordings/${encodeURIComponent(session)}?${new URLSearchParams({ t: String(Math.floor(ms) / 1000), q: text }).toString()}`;
}

/** What nodes are called. Whoever may not see them reads their numbers. */
export function useNodeNames(): (id: number) => string {
  const forbidden = useMay('node', 'list');
  const status = useQuery(forbidden ? null : 'node names', (signal) => call(api.GET('/v1/cluster/status', { signal })));
  return (id) => status.data?.nodes.find((node) => node.id === id)?.name ?? words.nodeId(id);
}

/** Who joined which session and as what, as far as the audit log may be read; rows of recordings do not say. */
export function useJoined(rows: readonly Recording[] | undefined): { joined: Map<string, Participant[]>; all: boolean } {
  const forbidden = useMayAudit();
  const oldest = rows?.at(-1)?.started;
  // Nobody joins a session that has ended: what is later is not looked at.
  const ends = rows?.map((row) => row.ended) ?? [];
  const last = ends.every((end) => typeof end === 'string') ? ends.map((end) => Date.parse(end as string)).reduce((a, b) => Math.max(a, b), 0) : undefined;
  const to = last === undefined ? undefined : new Date(last + 1000).toISOString();
  const found = useQuery(forbidden || oldest === undefined ? null : ['joined', oldest, to], (signal) =>
    call(api.GET('/v1/audit/events', { params: { query: { event: 'session.join', from: oldest, to, limit: 1000 } }, signal })),
  );
  return useMemo(() => {
    const joined = new Map<string, Participant[]>();
    for (const { event } of found.data?.items ?? []) {
      const { session = '', user = '' } = event;
      const mode = event.data?.['mode'] ?? '';
      const people = joined.get(session) ?? [];
      if (!people.some((one) => one.user === user && one.mode === mode)) joined.set(session, [...people, { user, mode }]);
    }
    return { joined, all: found.data !== undefined && !found.data.cursor };
  }, [found.data]);
}

export function completeness(row: Pick<Recording, 'completeness'>): { tone: 'ok' | 'warn' | 'info'; label: string; why: string | undefined } {
  const state = row.completeness;
  if (state === 'live') return { tone: 'info', label: words.running, why: undefined };
  if (state === 'complete') return { tone: 'ok', label: words.complete, why: undefined };
  return { tone: 'warn', label: words.interrupted, why: state.interrupted };
}

export function seconds(row: Pick<Recording, 'started' | 'ended'>, now: Date): number {
  return ((row.ended ? new Date(row.ended) : now).getTime() - new Date(row.started).getTime()) / 1000;
}

/** Where a live session is joined. */
export function joinUrl(session: string, mode?: string): string {
  return `/terminal?${new URLSearchParams({ session, ...(mode === undefined ? {} : { mode }) }).toString()}`;
}
