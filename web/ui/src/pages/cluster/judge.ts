// What the figures of a node mean. Bounds are those of the node's own advice.
import type { Schema } from '../../api';
import type { Tone } from '../../ui';

export type NodeStatus = Schema<'NodeStatus'>;
export type Status = Schema<'ClusterStatus'>;

const gib = 1024 ** 3;

export function diskTone(free: number, size: number): Tone {
  if (free < gib / 4) return 'bad';
  return free < gib || (size > 0 && free / size < 0.05) ? 'warn' : 'plain';
}

export const lagTone = (lag: number): Tone => (lag > 50_000 ? 'bad' : lag > 5_000 ? 'warn' : 'plain');

/** The HTTPS certificate lives for a week and renews itself; the others for long. */
export function certTone(what: string, days: number): Tone {
  if (days <= 0) return 'bad';
  const enough = what === 'https' ? 1 : what.endsWith('authority') ? 90 : 14;
  return days < enough ? 'warn' : 'plain';
}

/** Compares versions by their numbers; what follows them (`-rc.1`) is older than nothing. */
export function compareVersions(a: string, b: string): number {
  const parts = (text: string) => text.split('-')[0]!.split('.').map((part) => Number.parseInt(part, 10) || 0);
  const [x, y] = [parts(a), parts(b)];
  for (let n = 0; n < Math.max(x.length, y.length); n += 1) {
    const difference = (x[n] ?? 0) - (y[n] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return Number(b.includes('-')) - Number(a.includes('-')) || a.localeCompare(b);
}

export type Skew = { newest: string; behind: string[]; list: string };

/** Which nodes run something older than the newest, if any do. */
export function skew(nodes: NodeStatus[]): Skew | undefined {
  const told = nodes.flatMap((node) => (node.vitals ? [{ name: node.name, version: node.vitals.version }] : []));
  const newest = told.map((one) => one.version).sort(compareVersions).at(-1);
  if (newest === undefined) return undefined;
  const behind = told.filter((one) => one.version !== newest).map((one) => one.name);
  if (behind.length === 0) return undefined;
  return { newest, behind, list: told.map((one) => `${one.name} ${one.version}`).join(', ') };
}

/** How many voters may fail after this node is gone. */
export function toleranceWithout(nodes: NodeStatus[], name: string): number {
  const rest = nodes.filter((node) => node.voter && node.name !== name);
  const needed = Math.floor(rest.length / 2) + 1;
  return Math.max(0, rest.filter((node) => node.reachable).length - needed);
}

/** Of a node's certificates the one that ends first. */
export function soonest(node: NodeStatus): Schema<'CertificateEnd'> | undefined {
  return [...(node.vitals?.certificates ?? [])].sort((a, b) => a.days_left - b.days_left)[0];
}

export function canLead(node: NodeStatus): boolean {
  return node.voter && node.reachable && node.role !== 'leader';
}
