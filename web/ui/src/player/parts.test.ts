import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WallClock } from './clock';
import { decode, encode, readLine, type Played } from './events';
import { GrowingList } from './grow';
import { advance, IdleFinder, playedLength, type Idle } from './idle';
import { otherSpeed, readMoment, shownMoment, writeMoment } from './link';
import { around, PlainText } from './search';
import { deflate, Store, type Packer } from './store';

const bytes = (text: string) => new TextEncoder().encode(text);
const some: Played[] = [
  { at: 0, wall: 5, what: { kind: 'output', bytes: Uint8Array.of(0, 255, 10) } },
  { at: 1, wall: 6, what: { kind: 'error_output', bytes: Uint8Array.of(1) } },
  { at: 2, wall: 7, what: { kind: 'input', bytes: Uint8Array.of() } },
  { at: 3, wall: 8, what: { kind: 'input_size', size: 9 } },
  { at: 4, wall: 9, what: { kind: 'resize', cols: 80, rows: 24 } },
  { at: 5, wall: 1e12, what: { kind: 'note', text: 'é\u001b"' } },
  { at: 6, wall: 1e12, what: { kind: 'exec', text: 'ls' } },
  { at: 7, wall: 1e12, what: { kind: 'exit', status: 3 } },
  { at: 8, wall: 1e12, what: { kind: 'captured', direction: 'output', size: 9, recorded: 3, sha256: 'ab' } },
];

describe('events', () => {
  it('are read from lines', () => {
    expect(readLine('{"event":{"at_ms":3,"wall_ms":4,"what":{"output":"AP8K"}}}')).toEqual({
      event: { at: 3, wall: 4, what: { kind: 'output', bytes: Uint8Array.of(0, 255, 10) } },
    });
    expect(readLine('{"event":{"at_ms":3,"wall_ms":4,"what":{"resize":{"cols":80,"rows":24}}}}')).toMatchObject({ event: { what: { kind: 'resize', cols: 80 } } });
    expect(readLine('{"event":{"at_ms":3,"wall_ms":4,"what":{"exit":0}}}')).toMatchObject({ event: { what: { kind: 'exit', status: 0 } } });
    expect(readLine('{"end":{"complete":true,"text":"complete"}}')).toEqual({ end: { complete: true, text: 'complete' } });
  });
  it('survive being packed', async () => {
    expect(decode(encode(some))).toEqual(some);
    expect(decode(await deflate.unpack(await deflate.pack(encode(some))))).toEqual(some);
  });
});

describe('the store', () => {
  const plain: Packer = { pack: (block) => Promise.resolve(block.slice()), unpack: (block) => Promise.resolve(block) };
  const event = (i: number): Played => ({ at: i, wall: i, what: { kind: 'output', bytes: new Uint8Array(50_000).fill(i) } });

  it('gives every range in order, also of what it had to give up', async () => {
    const all = Array.from({ length: 60 }, (_, i) => event(i));
    let read = 0;
    const reread = (part: number): Promise<Played[]> => {
      read++;
      return Promise.resolve(all.slice(part * 6, part * 6 + 6));
    };
    const store = new Store(plain, reread, 700_000);
    for (const one of all) store.push(one);
    await store.settle();
    expect(store.packedBytes).toBeLessThanOrEqual(700_000);
    for (const [from, to] of [[0, 60], [5, 7], [59, 60], [13, 13], [30, 200]] as const) {
      const got: number[] = [];
      for await (const run of store.range(from, to)) got.push(...run.map((e) => e.at));
      expect(got).toEqual(all.slice(from, to).map((e) => e.at));
    }
    expect(read).toBeGreaterThan(0);
    expect((await store.event(8))?.at).toBe(8);
  });
});

describe('times', () => {
  it('count up to a value', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { maxLength: 3000 }), fc.nat(60), (values, limit) => {
        const sorted = [...values].sort((a, b) => a - b);
        const list = new GrowingList();
        for (const value of sorted) list.push(value);
        expect(list.countUpTo(limit)).toBe(sorted.filter((v) => v <= limit).length);
      }),
    );
  });

  it('show the wall clock at every moment, also when it was set', () => {
    const clock = new WallClock();
    clock.push(0, 1_000_000);
    clock.push(1000, 1_001_001);
    clock.push(2000, 990_000); // set back
    expect(clock.changes).toBe(2);
    expect(clock.wallAt(500)).toBe(1_000_500);
    expect(clock.wallAt(2500)).toBe(990_500);
    expect(new WallClock().wallAt(3)).toBeUndefined();
  });
});

describe('pauses', () => {
  const spans = (times: number[]): readonly Idle[] => {
    const finder = new IdleFinder();
    times.forEach((at) => finder.push(at));
    return finder.spans;
  };

  it('are found', () => expect(spans([0, 100, 10_100, 10_200])).toEqual([{ from: 100, to: 10_100 }]));
  it('are skipped, with a second before and half a second after', () => {
    const idle = spans([0, 100, 60_100, 60_200]);
    expect(advance(0, 1000, 1, 60_200, idle, true)).toEqual({ at: 1000, skipped: undefined });
    expect(advance(0, 1150, 1, 60_200, idle, true)).toMatchObject({ at: 59_650, skipped: { ms: 58_500 } });
    expect(advance(0, 1150, 1, 60_200, idle, false)).toEqual({ at: 1150, skipped: undefined });
    expect(playedLength(60_200, idle)).toBe(60_200 - 58_500);
  });
  it('never make it go back, nor past the end, and no step is lost', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9000), { maxLength: 30 }), fc.nat(50_000), fc.nat(20_000), fc.constantFrom(0.5, 1, 16), (pauses, from, ms, speed) => {
        let at = 0;
        const idle = spans(pauses.map((pause) => (at += pause)));
        const start = Math.min(from, at);
        const once = advance(start, ms, speed, at, idle, true);
        expect(once.at).toBeGreaterThanOrEqual(start);
        expect(once.at).toBeLessThanOrEqual(at);
        const half = advance(start, ms / 2, speed, at, idle, true);
        expect(advance(half.at, ms / 2, speed, at, idle, true).at).toBeCloseTo(once.at, 3);
      }),
    );
  });
});

describe('links and words', () => {
  it('read and write a moment', () => {
    expect([readMoment('75'), readMoment('1h2m3s'), readMoment('2m'), readMoment('1.5')]).toEqual([75_000, 3_723_000, 120_000, 1500]);
    expect([readMoment(''), readMoment('x'), readMoment(null), readMoment('-3')]).toEqual([undefined, undefined, undefined, undefined]);
    expect(writeMoment(75_999)).toBe('75');
    expect([shownMoment(3_723_400), shownMoment(5000), shownMoment(5900, true)]).toEqual(['1:02:03', '0:05', '0:05.9']);
  });
  it('change the speed by steps', () => expect([otherSpeed(1, 1), otherSpeed(16, 1), otherSpeed(0.5, -1), otherSpeed(3, 1)]).toEqual([2, 16, 0.5, 2]));
  it('take escapes out of text', () => {
    const plain = new PlainText();
    expect(['a\x1b[3', '1mb\x1b]0;tit', 'le\x07c\x1b(0d\x1bP1$r\x1b\\e\r\n', '\x1b]8;;u\x1b\\f'].map((t) => plain.push(bytes(t))).join('')).toBe('abcde\r\nf');
  });
  it('show the part of a long line that matters', () => {
    const line = `${'x'.repeat(500)}needle${'y'.repeat(500)}`;
    const shown = around(line, { from: 500, to: 506 });
    expect(shown.text.slice(shown.from, shown.to)).toBe('needle');
    expect(shown.text.length).toBeLessThan(210);
  });
});
