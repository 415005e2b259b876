import { useMemo } from 'react';
import { api, call, usePages, useQuery, type Schema } from '../../api';
import { useMay } from '../../app/session';
import { useMayAudit } from '../../audit/may';
import { sessions as words } from '../../strings/sessions';

export type Live = Schema<'LiveSession'>;
export type Recording = Schema<'RecordingSpec'>;

const LIVE_POLL_MS = 3000;
const ENDED_POLL_MS = 15_000;
const PAGE = 50;

export function useLive() {
  return useQuery('sessions', (signal) => call(api.GET('/v1/sessions', { signal })).then((page) => page.items), { poll: LIVE_POLL_MS });
}

export function useRecordings() {
  return usePages<Recording>(
    'recordings',
    async (after, signal) => {
      const page = await call(api.GET('/v1/recordings', { params: { query: { after, limit: PAGE } }, signal }));
      return { items: page.items.map((item) => item.recording), next: page.next };
    },
    { poll: ENDED_POLL_MS },
  );
}

/** What nodes are called. Whoever may not see them reads their numbers. */
export function useNodeNames(): (id: number) => string {
  const forbidden = useMay('node', 'list');
  const status = useQuery(forbidden ? null : 'node names', (signal) => call(api.GET('/v1/cluster/status', { signal })));
  return (id) => status.data?.nodes.find((node) => node.id === id)?.name ?? words.nodeId(id);
}

/** Who joined which session, as far as the audit log may be read. The rows of recordings do not say. */
export function useJoined(rows: readonly Recording[] | undefined): Map<string, string[]> {
  const forbidden = useMayAudit();
  const oldest = rows?.at(-1)?.started;
  const found = useQuery(forbidden || oldest === undefined ? null : ['joined', oldest], (signal) =>
    call(api.GET('/v1/audit/events', { params: { query: { event: 'session.join', from: oldest, limit: 1000 } }, signal })),
  );
  return useMemo(() => {
    const joined = new Map<string, string[]>();
    for (const { event } of found.data?.items ?? []) {
      const { session = '', user = '' } = event;
      const people = joined.get(session) ?? [];
      if (!people.includes(user)) joined.set(session, [...people, user]);
    }
    return joined;
  }, [found.data]);
}

/** Whether a recording fits what was typed: every word of it somewhere. */
export function fits(row: Recording, text: string): boolean {
  const all = [row.user, row.host, row.login, row.command, row.session, `${row.login}@${row.host}`].join(' ').toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => all.includes(word));
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
