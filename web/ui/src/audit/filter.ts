import type { operations } from '../api/schema';

export const RANGES = ['today', '7d', '30d', 'all', 'custom'] as const;
export type Range = (typeof RANGES)[number];

/** What the page shows, as its address says it. */
export interface Filter {
  range: Range;
  /** Of a range of one's own: local times as the browser's field writes them, `2026-03-01T10:00`, or with a zone in links. */
  from: string;
  to: string;
  text: string;
  type: string;
  user: string;
  host: string;
}

export const everything: Filter = { range: '7d', from: '', to: '', text: '', type: '', user: '', host: '' };

const LOCAL = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?$/;

export function readFilter(params: URLSearchParams): Filter {
  const get = (name: string) => params.get(name) ?? '';
  const asked = get('range');
  const from = LOCAL.test(get('from')) ? get('from') : '';
  const to = LOCAL.test(get('to')) ? get('to') : '';
  const known = RANGES.find((range) => range === asked);
  const range = known ?? (from !== '' || to !== '' ? 'custom' : everything.range);
  return { range, from, to, text: get('q'), type: get('type'), user: get('user'), host: get('host') };
}

/** The parameters that say it, with those that say nothing as `undefined`. */
export function writeFilter(filter: Filter): Record<string, string | undefined> {
  const own = filter.range === 'custom';
  return {
    range: filter.range === everything.range ? undefined : filter.range,
    from: own && filter.from !== '' ? filter.from : undefined,
    to: own && filter.to !== '' ? filter.to : undefined,
    q: filter.text || undefined,
    type: filter.type || undefined,
    user: filter.user || undefined,
    host: filter.host || undefined,
  };
}

const iso = (time: Date): string => time.toISOString().replace('.000Z', 'Z');

/** The moments between which a range lies. The minute of `now` is what counts, so that one answer serves for a while. */
export function bounds(filter: Filter, now: Date): { from: string; to: string } {
  const days = (n: number) => {
    const start = new Date(now);
    start.setHours(0, 0, 0, 0);
    start.setDate(start.getDate() - n);
    return iso(start);
  };
  switch (filter.range) {
    case 'today':
      return { from: days(0), to: '' };
    case '7d':
      return { from: days(6), to: '' };
    case '30d':
      return { from: days(29), to: '' };
    case 'all':
      return { from: '', to: '' };
    case 'custom': {
      const at = (local: string) => {
        const time = new Date(local.length === 10 ? `${local}T00:00` : local);
        return local === '' || Number.isNaN(time.getTime()) ? '' : iso(time);
      };
      return { from: at(filter.from), to: at(filter.to) };
    }
  }
}

/** A search as the API takes it. */
export type Search = NonNullable<operations['search_audit']['parameters']['query']>;

/** The filter as the API takes it. */
export function query(filter: Filter, now: Date): Pick<Search, 'from' | 'to' | 'text' | 'event' | 'user' | 'host'> {
  const all = { ...bounds(filter, now), text: filter.text.trim(), event: filter.type, user: filter.user.trim(), host: filter.host.trim() };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''));
}

/** Whether new events can appear: not in a time that is over. */
export function canBeLive(filter: Filter, now: Date): boolean {
  const { to } = bounds(filter, now);
  return to === '' || new Date(to) > now;
}

/** A time of the address as the browser's field takes it. */
export function forField(time: string): string {
  if (!time.endsWith('Z')) return time;
  const at = new Date(time);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The parameters of a link to one event, good in every time zone: the minute around it, and its number. */
export function linkTo(event: { time: string }, seq: number): string {
  const at = new Date(event.time).getTime();
  return new URLSearchParams({ range: 'custom', from: iso(new Date(at - 30_000)), to: iso(new Date(at + 30_000)), e: String(seq) }).toString();
}

export const isNarrowed = (filter: Filter): boolean => Object.keys(writeFilter(filter)).some((name) => writeFilter(filter)[name] !== undefined);
