import { describe, expect, test } from 'vitest';
import { ackEvery, begin, connectMs, pause, pieceMost, pingMs, silentMs, step, typedMost, unknownMs } from './machine';
import type { Effect, Event, Setup, State } from './machine';

const setup: Setup = {
  wish: { host: 'web1', login: 'alice', session: '' },
  places: [
    { url: 'wss://n1/v1/terminal', name: 'n1', own: true },
    { url: 'wss://n2/v1/terminal', name: 'n2', own: false },
    { url: 'wss://n3/v1/terminal', name: 'n3', own: false },
  ],
  csrf: 'C',
  resume: 'R',
};
const size = { cols: 80, rows: 24 };

/** Runs events, filling in the current socket, and gives the effects of each. */
function run(events: (Event | ((state: State) => Event))[], from: State = begin(size, setup.wish), by: Setup = setup) {
  let state = from;
  const effects: Effect[][] = [];
  for (const event of events) {
    const [next, out] = step(state, typeof event === 'function' ? event(state) : event, by);
    state = next;
    effects.push(out);
  }
  return { state, effects, last: effects.at(-1)! };
}

const start: Event = { is: 'start', now: 0 };
const connected = (s: State): Event => ({ is: 'connected', socket: s.socket });
const frame = (value: unknown, now = 0) => (s: State): Event => ({ is: 'text', socket: s.socket, text: JSON.stringify(value), now, random: 0.5 });
const lost = (now = 0) => (s: State): Event => ({ is: 'lost', socket: s.socket, now, random: 0.5 });
const timer = (now = 0): Event => ({ is: 'timer', now, random: 0.5 });
const opened = (again = false, session = 'S') => frame({ opened: { session, host: 'web1', login: 'alice', node: 'n1', again } });
const up = [start, connected, opened()];
const bytes = (text: string) => new TextEncoder().encode(text);

describe('opening', () => {
  test('the first frame carries the token at the own node, the size and the wish', () => {
    expect(run([start]).last).toEqual([{ do: 'connect', url: 'wss://n1/v1/terminal', socket: 1 }, { do: 'timer', ms: connectMs }]);
    expect(run([start, connected]).last).toEqual([
      { do: 'frame', frame: { open: { csrf: 'C', host: 'web1', login: 'alice', cols: 80, rows: 24, session: '' } } },
    ]);
  });

  test('a size that changed meanwhile is told once it is open', () => {
    const { last, state } = run([start, connected, { is: 'resized', size: { cols: 100, rows: 30 } }, opened()]);
    expect(last).toContainEqual({ do: 'frame', frame: { resize: { cols: 100, rows: 30 } } });
    expect(state.phase).toBe('open');
    expect(state.session).toBe('S');
  });

  test('a refusal is final, with its reason', () => {
    const { state, last } = run([start, connected, frame({ failed: { code: 'refused', message: 'no role allows it' } })]);
    expect(state.phase).toBe('ended');
    expect(last).toContainEqual({ do: 'ended', end: { why: 'failed', code: 'refused', message: 'no role allows it' } });
  });

  test('when every node has refused, their reason is shown', () => {
    const busy = frame({ failed: { code: 'unavailable', message: 'the cluster has no quorum' } });
    const { state } = run([start, connected, busy, timer(), connected, busy, timer(), connected, busy, timer(), connected, busy]);
    expect(state.end).toEqual({ why: 'failed', code: 'unavailable', message: 'the cluster has no quorum' });
  });

  test('that too many terminals are open is said at once', () => {
    const { state } = run([start, connected, frame({ failed: { code: 'too_many_terminals', message: 'close one' } })]);
    expect(state.end).toEqual({ why: 'failed', code: 'too_many_terminals', message: 'close one' });
  });

  test('a node that is not ready is passed over', () => {
    const { state } = run([start, connected, frame({ failed: { code: 'unavailable', message: '' } })]);
    expect(state.phase).toBe('waiting');
  });

  test('a session of the page before that is over becomes a new one', () => {
    const by = { ...setup, wish: { ...setup.wish, session: 'OLD' } };
    const first = run([start, connected], begin(size, by.wish), by);
    expect(first.last).toMatchObject([{ frame: { open: { session: 'OLD' } } }]);
    for (const code of ['session_over', 'session_unknown']) {
      const again = run([frame({ failed: { code, message: 'gone' } }), connected], first.state, by);
      expect(again.last).toMatchObject([{ frame: { open: { session: '' } } }]);
    }
    const refused = run([frame({ failed: { code: 'refused', message: 'no' } })], first.state, by);
    expect(refused.state.end).toMatchObject({ code: 'refused' });
  });

  test('one to join is never replaced by a new session', () => {
    const by: Setup = { ...setup, wish: { ...setup.wish, session: 'X', mode: 'observer' } };
    const { state, effects } = run([start, connected, frame({ failed: { code: 'session_over', message: 'gone' } })], begin(size, by.wish), by);
    expect(effects[1]).toMatchObject([{ frame: { open: { session: 'X', mode: 'observer' } } }]);
    expect(state.phase).toBe('ended');
  });

  test('frames that nobody knows are passed over', () => {
    for (const raw of ['', 'null', '{', '[]', '{"later":1}', '{"opened":3}']) {
      const { state } = run([start, connected, (s) => ({ is: 'text', socket: s.socket, text: raw, now: 0, random: 0 })]);
      expect(state.phase).toBe('opening');
    }
  });
});

describe('a new size', () => {
  test('is told as columns and rows and nothing else', () => {
    const size = { cols: 100, rows: 40, colsChanged: true };
    expect(run([...up, { is: 'resized', size }]).last).toEqual([{ do: 'frame', frame: { resize: { cols: 100, rows: 40 } } }]);
  });
});

describe('losing the node', () => {
  test('the same node first, then the others with the pass for them, and the session', () => {
    const away = run([...up, lost(1000)]);
    expect(away.last).toEqual([{ do: 'drop' }, { do: 'timer', ms: 100 }]);
    const same = run([timer(1100), connected], away.state);
    expect(same.last).toMatchObject([{ frame: { open: { csrf: 'C', session: 'S' } } }]);
    const other = run([lost(1200), timer(1400), connected], same.state);
    expect(other.effects[1]).toMatchObject([{ url: 'wss://n2/v1/terminal' }, {}]);
    expect(other.last).toMatchObject([{ frame: { open: { resume: 'R', session: 'S' } } }]);
    expect(other.last).not.toMatchObject([{ frame: { open: { csrf: 'C' } } }]);
    const third = run([lost(1500), timer(1700)], other.state);
    expect(third.last).toMatchObject([{ url: 'wss://n3/v1/terminal' }, {}]);
    const back = run([lost(1800), timer(2500)], third.state);
    expect(back.last).toMatchObject([{ url: 'wss://n1/v1/terminal' }, {}]);
  });

  test('a session that is taken up again is told its size twice, so that its program draws anew', () => {
    const same = run([...up, lost(), timer(), connected]);
    expect(same.last).toMatchObject([{ frame: { open: { cols: 80, rows: 23 } } }]);
    expect(run([opened(true)], same.state).last).toContainEqual({ do: 'frame', frame: { resize: size } });
  });

  test('a node that never answers is given up', () => {
    const { state } = run([...up, lost(), timer(), timer(connectMs)]);
    expect(state.phase).toBe('waiting');
    expect(state.place).toBe(1);
  });

  test('a socket that is silent is dropped', () => {
    const pinged = run([...up, timer(pingMs)]);
    expect(pinged.last).toEqual([{ do: 'frame', frame: { ping: 1 } }, { do: 'timer', ms: pingMs }]);
    expect(run([timer(pingMs * 2)], pinged.state).state.phase).toBe('open');
    expect(run([timer(pingMs + silentMs)], pinged.state).state.phase).toBe('waiting');
  });

  test('a node that does not know the session yet is asked again, for a while', () => {
    const missing = (now: number) => frame({ failed: { code: 'session_unknown', message: 'no such session' } }, now);
    const soon = run([...up, lost(1000), timer(), connected, missing(2000)]);
    expect(soon.state.phase).toBe('waiting');
    const late = run([timer(), connected, missing(1000 + unknownMs)], soon.state);
    expect(late.state.end).toEqual({ why: 'failed', code: 'session_unknown', message: 'no such session' });
  });

  test('a session that is over is not looked for any longer', () => {
    const over = frame({ failed: { code: 'session_over', message: 'this session is over' } }, 1001);
    const { state } = run([...up, lost(1000), timer(), connected, over]);
    expect(state.end).toEqual({ why: 'failed', code: 'session_over', message: 'this session is over' });
  });

  test('a terminal that was open waits for a place at another node', () => {
    const { state } = run([...up, lost(), timer(), connected, frame({ failed: { code: 'too_many_terminals', message: '' } })]);
    expect(state.phase).toBe('waiting');
  });

  test('what is typed meanwhile goes to the same shell, and to no other', () => {
    const typed = run([...up, lost(), { is: 'typed', bytes: bytes('ls\r') }, timer(), connected]);
    expect(run([opened(true)], typed.state).last).toContainEqual({ do: 'bytes', bytes: bytes('ls\r') });
    const fresh = run([opened(false, 'T')], typed.state);
    expect(fresh.last.some((effect) => effect.do === 'bytes')).toBe(false);
    expect(fresh.state.typed).toEqual([]);
  });

  test('no more is kept than a person types', () => {
    const { state } = run([...up, lost(), { is: 'typed', bytes: new Uint8Array(typedMost) }, { is: 'typed', bytes: bytes('x') }]);
    expect(state.typedBytes).toBe(typedMost);
  });

  test('events of a former socket change nothing', () => {
    const away = run([...up, lost()]).state;
    const old = up.length - 2;
    for (const event of [{ is: 'lost', socket: old, now: 0, random: 0 }, { is: 'written', socket: old, bytes: 1e6 }, { is: 'connected', socket: old }] as Event[]) {
      expect(step(away, event, setup)).toEqual([away, []]);
    }
  });

  test('the end that the node tells is the end', () => {
    const { state } = run([...up, frame({ closed: { status: 3, reason: 'exit' } }), lost(), timer()]);
    expect(state.phase).toBe('ended');
    expect(state.end).toEqual({ why: 'closed', status: 3, reason: 'exit' });
  });

  test('whoever does not want to wait need not', () => {
    const away = run([...up, lost()]);
    expect(run([{ is: 'retry', now: 1 }], away.state).state.phase).toBe('connecting');
    expect(run([{ is: 'retry', now: 1 }], run(up).state).last).toEqual([]);
  });

  test('pauses grow, stay under a bound, and are never the same for all', () => {
    expect([1, 2, 3].map((n) => pause(n, 3, 0.5))).toEqual([100, 200, 200]);
    expect([4, 7, 10, 13, 16, 40].map((n) => pause(n, 3, 0.5))).toEqual([500, 1000, 2000, 4000, 8000, 8000]);
    expect(pause(16, 3, 0)).toBe(6000);
    expect(pause(16, 3, 1)).toBe(10000);
    expect([1, 2, 3, 4].map((n) => pause(n, 1, 0.5))).toEqual([100, 500, 1000, 2000]);
  });
});

describe('while it is open', () => {
  test('every 64 KiB on the screen are acknowledged, all bytes once', () => {
    let state = run(up).state;
    let acked = 0;
    let total = 0;
    for (let n = 1; n < 200; n += 1) {
      const size = (n * 7919) % 9000;
      total += size;
      const [next, effects] = step(state, { is: 'written', socket: state.socket, bytes: size }, setup);
      state = next;
      for (const effect of effects) if (effect.do === 'frame' && 'ack' in effect.frame) acked += effect.frame.ack;
      expect(state.unacked).toBeLessThan(ackEvery);
    }
    expect(acked + state.unacked).toBe(total);
  });

  test('a new socket owes nothing', () => {
    const { state } = run([...up, (s) => ({ is: 'written', socket: s.socket, bytes: 1000 }), lost(), timer(), connected, opened(true)]);
    expect(state.unacked).toBe(0);
  });

  test('what is pasted goes in pieces that a node takes, whole and in order', () => {
    const long = Uint8Array.from({ length: pieceMost * 2 + 5 }, (_, n) => n % 251);
    const { last } = run([...up, { is: 'typed', bytes: long }]);
    const pieces = last.map((effect) => (effect.do === 'bytes' ? effect.bytes : new Uint8Array()));
    expect(pieces.map((piece) => piece.length)).toEqual([pieceMost, pieceMost, 5]);
    expect(pieces.flatMap((piece) => [...piece])).toEqual([...long]);
  });

  test('latency is the time to the answer of the newest question', () => {
    const { state } = run([...up, timer(pingMs), frame({ pong: 7 }, pingMs + 1), frame({ pong: 1 }, pingMs + 12)]);
    expect(state.latency).toBe(12);
    expect(run([lost()], state).state.latency).toBeNull();
  });

  test('leaving says so', () => {
    expect(run([...up, { is: 'leave' }]).last[0]).toEqual({ do: 'frame', frame: { close: {} } });
  });

  test('the same size is told once', () => {
    expect(run([...up, { is: 'resized', size }]).last).toEqual([]);
  });
});
