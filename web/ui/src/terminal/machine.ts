// One terminal's connection as a pure machine: events in, a new state and effects out. It knows neither sockets nor
// clocks; `connection.ts` gives it both.
import { readFrame } from './frames';
import type { Opened, Size, ToNode, Wish } from './frames';
import type { Schema } from '../api';

/** A node that may carry the session. `own` is the one that the page came from: the cookie goes there. */
export type Place = { url: string; name: string; own: boolean };
export type Setup = { wish: Wish; places: Place[]; csrf: string; resume: string };

export type End = { why: 'closed'; status: number; reason: string } | { why: 'failed'; code: string; message: string };

export type State = {
  phase: 'connecting' | 'opening' | 'open' | 'waiting' | 'ended';
  /** Counts the sockets: what belongs to a former one is ignored. */
  socket: number;
  place: number;
  /** Attempts since the terminal was last open. */
  tries: number;
  size: Size;
  session: string;
  node: string;
  /** It has been open at least once. */
  begun: boolean;
  lostAt: number;
  nextAt: number;
  unacked: number;
  typed: Uint8Array[];
  typedBytes: number;
  ping: { n: number; at: number } | null;
  pings: number;
  latency: number | null;
  end: End | null;
};

export type Event =
  | { is: 'start'; now: number }
  | { is: 'connected'; socket: number }
  | { is: 'text'; socket: number; text: string; now: number; random: number }
  | { is: 'lost'; socket: number; now: number; random: number }
  | { is: 'timer'; now: number; random: number }
  | { is: 'typed'; bytes: Uint8Array }
  | { is: 'written'; socket: number; bytes: number }
  | { is: 'resized'; size: Size }
  | { is: 'retry'; now: number }
  | { is: 'leave' };

export type Effect =
  | { do: 'connect'; url: string; socket: number }
  | { do: 'drop' }
  | { do: 'frame'; frame: ToNode }
  | { do: 'bytes'; bytes: Uint8Array }
  | { do: 'timer'; ms: number | null }
  | { do: 'opened'; opened: Opened; first: boolean }
  | { do: 'notice'; text: string }
  | { do: 'ended'; end: End };

export type Step = [State, Effect[]];

/** So much written output is answered with one acknowledgement. */
export const ackEvery = 64 * 1024;
/** A node that neither opens nor refuses within this is passed over. */
export const connectMs = 6_000;
export const pingMs = 3_000;
/** A node that is silent for so long is taken for dead, although its socket still looks open. */
export const silentMs = 12_000;
/** For so long another node may not know yet of the session that its dead peer carried. */
export const unknownMs = 20_000;
/** What is typed while the terminal is away waits for it, up to this. */
export const typedMost = 4 * 1024;
/** What is pasted goes in pieces of this size: a node takes no frame of more than 128 KiB. */
export const pieceMost = 32 * 1024;

export function begin(size: Size, wish: Wish): State {
  return {
    phase: 'waiting', socket: 0, place: 0, tries: 0, size, session: wish.session, node: '', begun: false, lostAt: 0, nextAt: 0,
    unacked: 0, typed: [], typedBytes: 0, ping: null, pings: 0, latency: null, end: null,
  };
}

/**
 * How long to wait before attempt `tries` (from 1), and at which node. The first goes to the node that had the session,
 * at once; then the others in turn. After each full round the pause doubles, up to eight seconds, with some chance in
 * it, so that a hundred terminals do not knock together.
 */
export function pause(tries: number, places: number, random: number): number {
  if (tries <= 1) return 100;
  const round = Math.floor((tries - 1) / places);
  if (round === 0 || (tries - 1) % places !== 0) return 200;
  return Math.round(Math.min(8_000, 500 * 2 ** (round - 1)) * (0.75 + random / 2));
}

function connect(state: State, setup: Setup): Step {
  const socket = state.socket + 1;
  const place = setup.places[state.place]!;
  return [
    { ...state, phase: 'connecting', socket, unacked: 0, ping: null },
    [{ do: 'connect', url: place.url, socket }, { do: 'timer', ms: connectMs }],
  ];
}

function away(state: State, setup: Setup, now: number, random: number): Step {
  const wasOpen = state.phase === 'open';
  const tries = wasOpen ? 1 : state.tries + 1;
  const place = wasOpen ? state.place : (state.place + 1) % setup.places.length;
  const ms = pause(tries, setup.places.length, random);
  const next: State = {
    ...state, phase: 'waiting', tries, place: tries === 1 ? state.place : place,
    lostAt: wasOpen || state.lostAt === 0 ? now : state.lostAt, nextAt: now + ms, ping: null, latency: null,
    // The bytes of a socket that is gone are nobody's debt.
    socket: state.socket + 1, unacked: 0,
  };
  return [next, [{ do: 'drop' }, { do: 'timer', ms }]];
}

function ended(state: State, end: End): Step {
  return [
    { ...state, phase: 'ended', end, typed: [], typedBytes: 0, latency: null, ping: null },
    [{ do: 'drop' }, { do: 'timer', ms: null }, { do: 'ended', end }],
  ];
}

function opened(state: State, answer: Opened, setup: Setup): Step {
  const effects: Effect[] = [{ do: 'opened', opened: answer, first: !state.begun }];
  // What was typed meanwhile was meant for that shell, and for no other.
  if (answer.again || !state.begun) effects.push(...state.typed.map((bytes): Effect => ({ do: 'bytes', bytes })));
  effects.push({ do: 'frame', frame: { resize: state.size } }, { do: 'timer', ms: pingMs });
  const next: State = {
    ...state, phase: 'open', tries: 0, session: answer.session, node: answer.node || setup.places[state.place]!.name,
    begun: true, lostAt: 0, typed: [], typedBytes: 0,
  };
  return [next, effects];
}

type Code = Schema<'ErrorCode'>;
const among = (codes: Code[]) => new Set<string>(codes);
// Nothing is wrong with the wish: another node, or the same one later, may grant it.
const passing = among(['unavailable', 'unknown_outcome', 'rate_limited']);
// A terminal that was open may find a place at another node; who opens a new one is told at once to close one.
const full: Code = 'too_many_terminals';
// This node has not heard of the session yet.
const unknown: Code = 'session_unknown';

function failed(state: State, setup: Setup, code: string, message: string, now: number, random: number): Step {
  // Before it was ever open, one round of all nodes is enough: their reason is worth more than their patience.
  if (passing.has(code) && (state.begun || state.tries < setup.places.length)) return away(state, setup, now, random);
  if (code === full && state.begun) return away(state, setup, now, random);
  if (code === unknown && state.begun && now - state.lostAt < unknownMs) return away(state, setup, now, random);
  // One of one's own that a page before this one had: it is over, so a new one it is.
  const gone = among(['session_over', unknown]).has(code);
  if (gone && !state.begun && state.session && !setup.wish.mode && setup.wish.host) return connect({ ...state, session: '' }, setup);
  return ended(state, { why: 'failed', code, message });
}

function text(state: State, setup: Setup, event: Extract<Event, { is: 'text' }>): Step {
  const frame = readFrame(event.text);
  if (!frame) return [state, []];
  switch (frame.is) {
    case 'opened':
      return state.phase === 'opening' ? opened(state, frame.opened, setup) : [state, []];
    case 'notice':
      return [state, [{ do: 'notice', text: frame.text }]];
    case 'closed':
      return ended(state, { why: 'closed', status: frame.status, reason: frame.reason });
    case 'failed':
      return failed(state, setup, frame.code, frame.message, event.now, event.random);
    case 'pong':
      if (state.ping?.n !== frame.n) return [state, []];
      return [{ ...state, ping: null, latency: Math.max(0, event.now - state.ping.at) }, []];
  }
}

function timer(state: State, setup: Setup, now: number, random: number): Step {
  switch (state.phase) {
    case 'waiting':
      return connect(state, setup);
    case 'connecting':
    case 'opening':
      return away(state, setup, now, random);
    case 'open': {
      if (state.ping && now - state.ping.at >= silentMs) return away(state, setup, now, random);
      const again: Effect = { do: 'timer', ms: pingMs };
      if (state.ping) return [state, [again]];
      const n = state.pings + 1;
      return [{ ...state, pings: n, ping: { n, at: now } }, [{ do: 'frame', frame: { ping: n } }, again]];
    }
    case 'ended':
      return [state, []];
  }
}

function open(state: State, setup: Setup): Step {
  const { host, login, mode } = setup.wish;
  const pass = setup.places[state.place]!.own ? { csrf: setup.csrf } : { resume: setup.resume };
  // A session that is taken up again gets one line less at first: the size that follows makes its program draw anew.
  const again = state.session !== '' && !mode;
  const rows = again ? Math.max(1, state.size.rows - 1) : state.size.rows;
  const frame: ToNode = { open: { ...pass, host, login, cols: state.size.cols, rows, session: state.session, ...(mode ? { mode } : {}) } };
  return [{ ...state, phase: 'opening' }, [{ do: 'frame', frame }]];
}

function typed(state: State, bytes: Uint8Array): Step {
  if (state.phase === 'open') {
    const pieces = Array.from({ length: Math.ceil(bytes.length / pieceMost) }, (_, n) => bytes.subarray(n * pieceMost, (n + 1) * pieceMost));
    return [state, pieces.map((piece) => ({ do: 'bytes', bytes: piece }))];
  }
  if (state.phase === 'ended' || state.typedBytes + bytes.length > typedMost) return [state, []];
  return [{ ...state, typed: [...state.typed, bytes], typedBytes: state.typedBytes + bytes.length }, []];
}

function written(state: State, bytes: number): Step {
  const unacked = state.unacked + bytes;
  if (state.phase !== 'open' || unacked < ackEvery) return [{ ...state, unacked }, []];
  return [{ ...state, unacked: 0 }, [{ do: 'frame', frame: { ack: unacked } }]];
}

export function step(state: State, event: Event, setup: Setup): Step {
  if (state.phase === 'ended') return [state, []];
  if ('socket' in event && event.socket !== state.socket) return [state, []];
  switch (event.is) {
    case 'start':
      return connect({ ...state, lostAt: event.now }, setup);
    case 'connected':
      return state.phase === 'connecting' ? open(state, setup) : [state, []];
    case 'text':
      return text(state, setup, event);
    case 'lost':
      return away(state, setup, event.now, event.random);
    case 'timer':
      return timer(state, setup, event.now, event.random);
    case 'typed':
      return typed(state, event.bytes);
    case 'written':
      return written(state, event.bytes);
    case 'resized': {
      // These two alone: what draws the screen tells more of it, and the node takes no field that it does not know.
      const { cols, rows } = event.size;
      if (cols === state.size.cols && rows === state.size.rows) return [state, []];
      return [{ ...state, size: { cols, rows } }, state.phase === 'open' ? [{ do: 'frame', frame: { resize: { cols, rows } } }] : []];
    }
    case 'retry':
      return state.phase === 'waiting' ? connect(state, setup) : [state, []];
    case 'leave': {
      const [next, effects] = ended(state, { why: 'closed', status: 0, reason: '' });
      const bye: Effect[] = state.phase === 'open' ? [{ do: 'frame', frame: { close: {} } }] : [];
      return [next, [...bye, ...effects]];
    }
  }
}
