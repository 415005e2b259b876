import type { AuditItem } from './sentence';

/** Clocks of nodes differ a little, so that an event may carry a time before that of one with a smaller number. */
const OVERLAP_MS = 60_000;
/** As many as a page keeps; older ones are a search away. */
const MOST = 2000;

/** From when on to ask for what is new. */
export function askFrom(items: readonly AuditItem[], otherwise: Date): string {
  const newest = items[0];
  const at = newest === undefined ? otherwise.getTime() : new Date(newest.event.time).getTime() - OVERLAP_MS;
  return new Date(at).toISOString();
}

/** What is new among a page, oldest first, put before what is there, newest first. The same list if nothing is. */
export function merge(items: readonly AuditItem[], page: readonly AuditItem[]): readonly AuditItem[] {
  const newest = items[0]?.seq ?? -1;
  const fresh = page.filter((item) => item.seq > newest);
  return fresh.length === 0 ? items : [...fresh.sort((a, b) => b.seq - a.seq), ...items].slice(0, MOST);
}
