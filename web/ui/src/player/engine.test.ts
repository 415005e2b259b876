import { Terminal } from '@xterm/headless';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { apply, Engine } from './engine';
import type { Played, What } from './events';
import { freeze, onlyDraws, rowsOf, type Term } from './screen';
import type { Hit } from './search';
import { Store, type Packer } from './store';

const plain: Packer = { pack: (block) => Promise.resolve(block.slice()), unpack: (block) => Promise.resolve(block) };
const make = (): Term => {
  const term = new Terminal({ cols: 20, rows: 6, scrollback: 0, allowProposedApi: true, logLevel: 'off' }) as unknown as Term;
  onlyDraws(term);
  return term;
};
const utf8 = new TextEncoder();
const out = (at: number, text: string | Uint8Array): Played => ({
  at,
  wall: 1_700_000_000_000 + at,
  what: { kind: 'output', bytes: typeof text === 'string' ? utf8.encode(text) : text },
});

/** Everything of a screen that can be compared. A line may hold room beyond its length, of which nothing is ever seen. */
const state = (term: Term): string =>
  JSON.stringify(freeze(term), (_, value: unknown) => {
    if (value !== null && typeof value === 'object' && '_data' in value) {
      const line = value as { _data: Uint32Array; length: number };
      return { ...line, _data: [...line._data.subarray(0, line.length * 3)] };
    }
    return value;
  });

// Pieces of what terminals are sent, cut anywhere: words, wide and combining characters, cursor movement, regions, colours,
// character sets, tab stops, saved cursors, both screens, resets, and what must not do anything.
const piece = fc.oneof(
  fc.constantFrom('hello', 'x', '世界', 'e\u0301', '🙂', 'a long line that wraps round the edge of the screen', '\r\n', '\n', '\r', '\t', '\b'),
  fc.constantFrom('\x1b7', '\x1b8', '\x1b[s', '\x1b[u', '\x1bc', '\x1b[!p', '\x1bM', '\x1bD', '\x1bE', '\x1bH', '\x1b[3g', '\x1b[g', '\x0e', '\x0f', '\x1b(0', '\x1b(B', '\x1b)0', '\x1b#8'),
  fc.constantFrom('\x1b[?1049h', '\x1b[?1049l', '\x1b[?47h', '\x1b[?47l', '\x1b[?25l', '\x1b[?25h', '\x1b[?6h', '\x1b[?6l', '\x1b[?7l', '\x1b[?7h', '\x1b[4h', '\x1b[4l', '\x1b[?45h', '\x1b[20h', '\x1b[2 q'),
  fc.constantFrom('\x1b[31m', '\x1b[1;4;44m', '\x1b[4:3m', '\x1b[58:2::1:2:3m', '\x1b[38;2;1;2;3m', '\x1b[0m', '\x1b[7m', '\x1b[K', '\x1b[2K', '\x1b[J', '\x1b[2J', '\x1b[3J', '\x1b[5X', '\x1b[2@', '\x1b[3P', '\x1b[2L', '\x1b[M', '\x1b[2b', '\x1b[S', '\x1b[2T'),
  fc.constantFrom('\x1b]0;title\x07', '\x1b]52;c;aGk=\x07', '\x1b]8;;http://x\x07link\x1b]8;;\x07', '\x1b[6n', '\x1b[c', '\x1bP$qm\x1b\\', '\x1b]4;1;rgb:ff/00/00\x07', '\x1b[?1003h', '\x1b[?2026h'),
  fc.tuple(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 25 })).map(([y, x]) => `\x1b[${y};${x}H`),
  fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })).map(([t, b]) => `\x1b[${t};${b}r`),
);
const what: fc.Arbitrary<What> = fc.oneof(
  { weight: 12, arbitrary: fc.array(piece, { minLength: 1, maxLength: 4 }).map((all) => ({ kind: 'output' as const, bytes: utf8.encode(all.join('')) })) },
  { weight: 2, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 6 }).map((bytes) => ({ kind: 'output' as const, bytes })) },
  { weight: 1, arbitrary: fc.record({ cols: fc.integer({ min: 0, max: 30 }), rows: fc.integer({ min: 0, max: 9 }) }).map((size) => ({ kind: 'resize' as const, ...size })) },
  { weight: 1, arbitrary: fc.constant({ kind: 'note' as const, text: 'a note' }) },
);
const session = fc.array(fc.tuple(fc.integer({ min: 0, max: 4000 }), what), { minLength: 1, maxLength: 60 }).map((all) => {
  let at = 0;
  return all.map(([pause, what]): Played => ({ at: (at += pause), wall: 5000 + at, what }));
});
/** Cuts outputs in two at any byte, as a network does. */
const cut = fc.tuple(session, fc.infiniteStream(fc.nat(40))).map(([events, cuts]) =>
  events.flatMap((event) => {
    if (event.what.kind !== 'output') return [event];
    const { bytes } = event.what;
    const at = (cuts.next().value as number) % (bytes.length + 1);
    return [bytes.subarray(0, at), bytes.subarray(at)].filter((b) => b.length > 0).map((b): Played => ({ ...event, what: { kind: 'output', bytes: b } }));
  }),
);

describe('seeking', () => {
  it('shows the same screen by any way as playing from the beginning', async () => {
    await fc.assert(
      fc.asyncProperty(cut, fc.array(fc.nat(1000), { minLength: 1, maxLength: 6 }), fc.integer({ min: 1, max: 60 }), async (events, seeks, keyframeBytes) => {
        const engine = new Engine(make, new Store(plain), keyframeBytes);
        for (const event of events) engine.push(event);
        await engine.index();
        const looked = make();
        const other = make();
        let from = -1;
        for (const seek of seeks) {
          const to = seek % (events.length + 1);
          const played = make();
          await apply(played, events.slice(0, to));
          await engine.show(looked, from, to);
          await engine.showAtOnce(other, to);
          expect(state(looked)).toBe(state(played));
          expect(state(other)).toBe(state(played));
          // What a copy of the state lacks shows in what is drawn next.
          const rest = events.slice(to);
          await apply(played, rest);
          await apply(other, rest);
          expect(state(other)).toBe(state(played));
          from = to;
        }
      }),
      { numRuns: Number(process.env.RUNS ?? 150) },
    );
  }, 60_000 * Number(process.env.RUNS ?? 150));

  it('shows the beginning when nothing has happened yet', async () => {
    const engine = new Engine(make, new Store(plain));
    engine.push(out(10, 'hello'));
    await engine.index();
    const term = make();
    await engine.show(term, -1, engine.countAt(9));
    expect(rowsOf(term)[0]).toBe('');
    await engine.show(term, 0, engine.countAt(10));
    expect(rowsOf(term)[0]).toBe('hello');
  });

  it('steps from output to output', () => {
    const engine = new Engine(make, new Store(plain));
    engine.push(out(10, 'a'));
    engine.push({ at: 20, wall: 20, what: { kind: 'input_size', size: 1 } });
    engine.push(out(30, 'b'));
    expect(engine.nextFrame(0)).toBe(1);
    expect(engine.nextFrame(1)).toBe(3);
    expect(engine.nextFrame(3)).toBeUndefined();
    expect(engine.previousFrame(3)).toBe(1);
    expect(engine.momentOf(3)).toBe(30);
  });

  it('keeps within its memory', async () => {
    const engine = new Engine(make, new Store(plain, undefined, 1 << 20), 256);
    for (let i = 0; i < 4000; i++) engine.push(out(i * 10, `line ${i} \x1b[3${i % 8}m${'x'.repeat(200)}\r\n`));
    await engine.index();
    expect(engine.keyframes).toBeGreaterThan(100);
    expect(engine.heldBytes).toBeLessThan(40 << 20);
  });

  it('takes a time that runs backwards for the one before', () => {
    const engine = new Engine(make, new Store(plain));
    engine.push(out(100, 'a'));
    engine.push(out(50, 'b'));
    expect(engine.duration).toBe(100);
  });
});

describe('hostile output', () => {
  it('only draws', async () => {
    const term = new Terminal({ cols: 20, rows: 6, scrollback: 0, allowProposedApi: true, logLevel: 'off' });
    onlyDraws(term as unknown as Term);
    const said: string[] = [];
    term.onData((data) => said.push(data));
    term.onTitleChange((title) => said.push(title));
    term.onBell(() => undefined);
    const hostile = '\x1b]0;t\x07\x1b]2;t\x07\x1b]52;c;aGk=\x07\x1b[c\x1b[>c\x1b[=c\x1b[5n\x1b[6n\x1b[?6n\x1b[21t\x1b[18t\x1b[>q\x1b[?1$p\x1b[4$p\x1bP$qm\x1b\\\x1b]10;?\x07\x1b]11;?\x07\x1b]4;1;?\x07\x1b[?u\x05\x1bZ';
    await new Promise<void>((done) => term.write(hostile, done));
    expect(said).toEqual([]);
    expect(rowsOf(term as unknown as Term).join('')).toBe('');
  });
});

describe('search', () => {
  const search = async (events: Played[], query: string): Promise<Hit[]> => {
    const engine = new Engine(make, new Store(plain));
    for (const event of events) engine.push(event);
    let found: readonly Hit[] = [];
    await engine.search(query, (hits) => (found = hits), new AbortController().signal);
    return [...found];
  };

  it('finds a line that came in pieces, in colours', async () => {
    const hits = await search([out(0, 'rm -\x1b[31'), out(10, 'mrf /tmp'), out(3000, '/x\r\n')], 'rm -rf /tmp/x');
    expect(hits).toMatchObject([{ at: 3000, after: 3, text: 'rm -rf /tmp/x' }]);
  });

  it('finds what stood on the screen and was never written in one piece', async () => {
    const hits = await search([out(0, '\x1b[2;3Hword'), out(1000, '\x1b[2;1H>>')], '>>word');
    expect(hits).toMatchObject([{ at: 1000, text: '>>word' }]);
  });

  it('says one line once, and later again', async () => {
    const hits = await search([out(0, 'alpha\r\n'), out(5, 'beta\r\n'), out(9000, 'alpha\r\n')], 'alpha');
    expect(hits.map((hit) => hit.at)).toEqual([0, 9000]);
  });

  it('takes a line that is typed for one hit', async () => {
    const hits = await search([...'echo hello world'].map((c, i) => out(i * 200, c)).concat(out(3400, '\r\n')), 'hello');
    expect(hits).toMatchObject([{ at: 9 * 200, text: 'echo hello world' }]);
  });

  it('takes what a line is overwritten with for a line', async () => {
    const hits = await search([out(0, '10% done\r'), out(5000, '20% done\r'), out(10_000, '30% done\r\n')], 'done');
    expect(hits.map((hit) => hit.text)).toEqual(['10% done', '20% done', '30% done']);
  });

  it('minds case only where the query does', async () => {
    expect(await search([out(0, 'Error: no\n')], 'error')).toHaveLength(1);
    expect(await search([out(0, 'error: no\n')], 'Error')).toHaveLength(0);
  });
});

describe('texts of a command', () => {
  it('are kept apart and cut', async () => {
    const engine = new Engine(make, new Store(plain));
    engine.push(out(0, 'out'));
    engine.push({ at: 1, wall: 1, what: { kind: 'error_output', bytes: utf8.encode('err') } });
    engine.push(out(2, 'more'));
    expect(await engine.texts(3, 3)).toMatchObject({ output: { text: 'out', cut: 4 }, error_output: { text: 'err', cut: 0 } });
  });
});
