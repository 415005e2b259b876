import type { Schema } from '../../api';

export type Health = 'healthy' | 'attention' | 'noQuorum';

/** The worst of what is known about a cluster. */
export function health(status: Pick<Schema<'ClusterStatus'>, 'quorum' | 'advice' | 'nodes'>): Health {
  if (!status.quorum) return 'noQuorum';
  return status.advice.length > 0 || status.nodes.some((node) => !node.reachable) ? 'attention' : 'healthy';
}

export const healthTone = { healthy: 'ok', attention: 'warn', noQuorum: 'bad' } as const;

/** Whether every word is found in one of the texts. */
export function matches(words: string, texts: string[]): boolean {
  const all = texts.join('\n').toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => all.includes(word));
}
