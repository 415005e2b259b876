import { ApiError, request } from '../api';
import { errors } from '../strings/app';
import type { Engine } from './engine';
import { readLine, type Played } from './events';
import { Splitter } from './store';

/** After a live recording was read, it is read again for what is new; less often the longer that takes. */
const AGAIN_MS = 1000;
const AGAIN_FACTOR = 2;
/** After a node failed to answer, it is asked again: what was read plays on meanwhile. */
const TROUBLE_MS = 3000;

/** Where the lines of a recording come from. A secret stands in the body, never in the path. */
export interface Source {
  method: 'GET' | 'POST';
  path: string;
  body?: unknown;
}

/** A recording that whoever is signed in may play. */
export const recordingOf = (id: string): Source => ({ method: 'GET', path: `/v1/recordings/${encodeURIComponent(id)}/events` });
/** The recording that a link shows. */
export const recordingOfLink = (token: string): Source => ({ method: 'POST', path: '/v1/shared/events', body: { token } });

/** The lines of a stream as they come. */
async function* lines(response: Response): AsyncGenerator<string[]> {
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const found = (rest + value).split('\n');
      rest = found.pop() ?? '';
      if (found.length > 0) yield found;
    }
    if (rest.trim() !== '') yield [rest];
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

/** Whether more is to come: the session runs, as far as the node that answered knows. */
export function isLive(engine: Engine): boolean {
  return engine.start?.completeness === 'live' && engine.end?.complete !== true;
}

/** Whether it may work a moment later: no answer, a broken one, a node without its quorum. */
export function passes(error: unknown): boolean {
  return error instanceof ApiError ? error.status === 0 || error.status >= 500 || error.status === 429 : error instanceof TypeError;
}

export class Loader {
  // One id for all that this page reads: it is one person playing it once, and one event of the audit log.
  readonly #headers = { 'x-request-id': crypto.randomUUID() };

  constructor(private readonly source: Source, private readonly signal: AbortSignal) {}

  #ask(signal: AbortSignal): Promise<Response> {
    const { method, path, body } = this.source;
    return request(method, path, { accept: 'application/x-ndjson', headers: this.#headers, body, signal });
  }

  /** Reads the recording into the engine, once; what the engine has already is skipped. */
  async #once(engine: Engine, tell: () => void): Promise<void> {
    const response = await this.#ask(this.signal);
    let skip = engine.count;
    let whole = false;
    for await (const found of lines(response)) {
      for (const text of found) {
        if (text === '') continue;
        const line = readLine(text);
        if ('start' in line) engine.start = line.start;
        else if ('masked' in line) engine.masked = line.masked;
        else if ('end' in line) [engine.end, whole] = [line.end, true];
        else if (skip > 0) skip--;
        else engine.push(line.event);
      }
      await engine.index();
      tell();
    }
    // Every answer has a last line; without it the rest is still to come.
    if (!whole) throw new TypeError('the answer was cut off');
    tell();
  }

  /**
   * Reads until the recording is whole, again and again while the session runs. A node that is gone is waited for:
   * `trouble` hears of it, and of its end. What is refused is thrown.
   */
  async run(engine: Engine, tell: () => void, trouble: (error: ApiError | undefined) => void): Promise<void> {
    for (;;) {
      const began = performance.now();
      let pause = TROUBLE_MS;
      try {
        await this.#once(engine, tell);
        trouble(undefined);
        if (!isLive(engine)) return;
        pause = Math.max(AGAIN_MS, (performance.now() - began) * AGAIN_FACTOR);
      } catch (error) {
        if (this.signal.aborted || !passes(error)) throw error;
        trouble(error instanceof ApiError ? error : new ApiError(0, 'unreachable', errors.unreachable));
      }
      await new Promise((done) => setTimeout(done, pause));
      if (this.signal.aborted) return;
    }
  }

  /** Reads one part once more, of a recording that is larger than what is kept of it. */
  reread = async (part: number): Promise<Played[]> => {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.signal]);
    const response = await this.#ask(signal);
    const splitter = new Splitter();
    let index = 0;
    let last = 0;
    try {
      for await (const found of lines(response)) {
        for (const text of found) {
          if (text === '') continue;
          const line = readLine(text);
          if (!('event' in line)) continue;
          // As the engine does: time never runs backwards.
          last = Math.max(last, line.event.at);
          const done = splitter.push({ ...line.event, at: last });
          if (done && index++ === part) return done;
        }
      }
    } finally {
      stop.abort();
    }
    return [...splitter.open];
  };
}
