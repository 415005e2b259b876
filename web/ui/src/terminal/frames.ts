// What goes over the socket besides bytes: JSON text frames, as the API's document describes them.

export type Mode = 'observer' | 'moderator' | 'peer';

/** What a terminal is to be: a new session, one of one's own to take up again, or somebody else's to join. */
export type Wish = { host: string; login: string; session: string; mode?: Mode };

export type Size = { cols: number; rows: number };

export type ToNode =
  | { open: { csrf?: string; resume?: string; host: string; login: string; cols: number; rows: number; session: string; mode?: Mode } }
  | { resize: Size }
  | { ping: number }
  | { ack: number }
  | { close: Record<string, never> };

export type Opened = { session: string; host: string; login: string; node: string; again: boolean };

export type FromNode =
  | { is: 'opened'; opened: Opened }
  | { is: 'notice'; text: string }
  | { is: 'closed'; status: number; reason: string }
  | { is: 'failed'; code: string; message: string }
  | { is: 'pong'; n: number };

type Bag = Record<string, unknown>;
const bag = (value: unknown): Bag | undefined => (value !== null && typeof value === 'object' ? (value as Bag) : undefined);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const number = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0);

/** Reads a text frame of the node; undefined when it is none that is known, which a newer node may send. */
export function readFrame(raw: string): FromNode | undefined {
  let parsed: Bag | undefined;
  try {
    parsed = bag(JSON.parse(raw));
  } catch {
    return undefined;
  }
  if (!parsed) return undefined;
  const opened = bag(parsed.opened);
  if (opened) {
    return {
      is: 'opened',
      opened: { session: text(opened.session), host: text(opened.host), login: text(opened.login), node: text(opened.node), again: opened.again === true },
    };
  }
  if (typeof parsed.notice === 'string') return { is: 'notice', text: parsed.notice };
  const closed = bag(parsed.closed);
  if (closed) return { is: 'closed', status: number(closed.status), reason: text(closed.reason) };
  const failed = bag(parsed.failed);
  if (failed) return { is: 'failed', code: text(failed.code), message: text(failed.message) };
  if (typeof parsed.pong === 'number') return { is: 'pong', n: parsed.pong };
  return undefined;
}
