// @vitest-environment jsdom
import { Terminal } from '@xterm/headless';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Engine } from './engine';
import { isLive, Loader, passes, recordingOf } from './load';
import { onlyDraws, type Term } from './screen';
import { Store, type Packer } from './store';
import { ApiError } from '../api';

const packer: Packer = { pack: (block) => Promise.resolve(block.slice()), unpack: (block) => Promise.resolve(block) };
const make = (): Term => {
  const term = new Terminal({ cols: 20, rows: 3, scrollback: 0, allowProposedApi: true, logLevel: 'off' }) as unknown as Term;
  onlyDraws(term);
  return term;
};
const start = (live: boolean) => JSON.stringify({ start: { session: 's', completeness: live ? 'live' : 'complete' } });
const event = (at: number) => JSON.stringify({ event: { at_ms: at, wall_ms: at, what: { output: 'YQ==' } } });
const end = (complete: boolean) => JSON.stringify({ end: { complete, text: 'x' } });
const answer = (lines: string[], last = '\n') => new Response(lines.join('\n') + last, { status: 200 });

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('reading a recording', () => {
  it('takes each event once, though a live one is read again and again, and ends with it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const answers = [
      answer([start(true), event(1), event(2), end(false)]),
      answer([start(true), event(1), event(2), event(3), end(false)]),
      answer([start(false), event(1), event(2), event(3), event(4), end(true)]),
    ];
    const ids: (string | null)[] = [];
    vi.stubGlobal('fetch', (request: Request) => {
      ids.push(request.headers.get('x-request-id'));
      return Promise.resolve(answers.shift());
    });
    const engine = new Engine(make, new Store(packer));
    const reading = new Loader(recordingOf('s'), new AbortController().signal).run(engine, () => undefined, () => undefined);
    await vi.advanceTimersByTimeAsync(60_000);
    await reading;
    expect(engine.count).toBe(4);
    expect(isLive(engine)).toBe(false);
    // One id: the audit log has one event for one reader.
    expect(new Set(ids).size).toBe(1);
    expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('waits for a node that is gone, and goes on where it was', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const answers: (() => Promise<Response>)[] = [
      () => Promise.resolve(answer([start(false), event(1)])),
      () => Promise.reject(new TypeError('gone')),
      () => Promise.resolve(answer([start(false), event(1), event(2), end(true)], '')),
    ];
    // The first answer breaks off: it has no end.
    answers[0] = () => Promise.resolve(new Response(new ReadableStream({
      start: (control) => {
        control.enqueue(new TextEncoder().encode(`${start(false)}\n${event(1)}\n`));
        setTimeout(() => control.error(new TypeError('network error')), 10);
      },
    })));
    vi.stubGlobal('fetch', () => (answers.shift() as () => Promise<Response>)());
    const troubles: boolean[] = [];
    const engine = new Engine(make, new Store(packer));
    const reading = new Loader(recordingOf('s'), new AbortController().signal).run(engine, () => undefined, (error) => troubles.push(error !== undefined));
    await vi.advanceTimersByTimeAsync(60_000);
    await reading;
    expect(engine.count).toBe(2);
    expect(troubles).toEqual([true, true, false]);
  });

  it('knows an answer that was cut off', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const answers = [answer([start(false), event(1)]), answer([start(false), event(1), event(2), end(true)])];
    vi.stubGlobal('fetch', () => Promise.resolve(answers.shift()));
    const engine = new Engine(make, new Store(packer));
    const reading = new Loader(recordingOf('s'), new AbortController().signal).run(engine, () => undefined, () => undefined);
    await vi.advanceTimersByTimeAsync(60_000);
    await reading;
    expect([engine.count, engine.end?.complete]).toEqual([2, true]);
  });

  it('gives up at once what is refused', async () => {
    vi.stubGlobal('fetch', () => Promise.resolve(new Response('{"code":"refused","message":"no"}', { status: 403 })));
    const engine = new Engine(make, new Store(packer));
    await expect(new Loader(recordingOf('s'), new AbortController().signal).run(engine, () => undefined, () => undefined)).rejects.toThrow('no');
    expect([passes(new ApiError(503, 'unavailable', '')), passes(new ApiError(404, 'not_found', ''))]).toEqual([true, false]);
  });
});
