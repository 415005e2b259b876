import type { Played } from './events';
import { resizeTo, rowsOf, writeNow, type Term } from './screen';

export interface Hit {
  /** The number of events after which it is on the screen. */
  after: number;
  at: number;
  text: string;
  /** Where in the text the match is. */
  from: number;
  to: number;
}

/** So many hits say enough: a narrower word finds the rest. */
export const MOST_HITS = 500;
const LINE_SHOWN = 200;

/** Finds a text in a line, without regard to case where the query has none. */
export function finder(query: string): (line: string) => { from: number; to: number } | undefined {
  const exact = query !== query.toLowerCase();
  return (line) => {
    const from = (exact ? line : line.toLowerCase()).indexOf(query);
    return from < 0 ? undefined : { from, to: from + query.length };
  };
}

/** The part of a long line that is shown of a match. */
export function around(line: string, match: { from: number; to: number }): Pick<Hit, 'text' | 'from' | 'to'> {
  if (line.length <= LINE_SHOWN) return { text: line, ...match };
  const start = Math.max(0, Math.min(match.from - 60, line.length - LINE_SHOWN));
  const text = (start > 0 ? '…' : '') + line.slice(start, start + LINE_SHOWN);
  const shift = start - (start > 0 ? 1 : 0);
  return { text, from: match.from - shift, to: Math.min(match.to - shift, text.length) };
}

/** Last characters of sequences that move the cursor, or what stands on the screen. */
const MOVES = new Set('ABCDEFGHIL@MPSTXZ`abdefjkru'.split(''));

/** Takes the escape sequences out of a stream of text, whose pieces may end anywhere. */
export class PlainText {
  #decoder = new TextDecoder();
  #state: 'text' | 'escape' | 'csi' | 'string' | 'string escape' | 'charset' = 'text';
  /** Whether the cursor was moved other than by writing on: then lines alone do not say what stood on the screen. */
  moved = false;

  push(bytes: Uint8Array): string {
    let out = '';
    for (const char of this.#decoder.decode(bytes, { stream: true })) out += this.#next(char);
    return out;
  }

  #next(char: string): string {
    const code = char.charCodeAt(0);
    switch (this.#state) {
      case 'text':
        if (code === 0x1b) this.#state = 'escape';
        else if (code === 0x9b) this.#state = 'csi';
        else if (char === '\n' || char === '\r' || char === '\t' || (code >= 0x20 && (code < 0x7f || code > 0x9f))) return char;
        return '';
      case 'escape':
        if (char === '[') this.#state = 'csi';
        else if (']PX^_'.includes(char)) this.#state = 'string';
        else if ('()*+-./ #%'.includes(char)) this.#state = 'charset';
        else this.#state = 'text';
        if ('78DEMc'.includes(char)) this.moved = true;
        return '';
      case 'csi':
        if (code === 0x1b) this.#state = 'escape';
        else if (code >= 0x40 && code <= 0x7e) this.#state = 'text';
        if (MOVES.has(char)) this.moved = true;
        return '';
      case 'string':
        if (code === 0x07 || code === 0x9c || code === 0x18 || code === 0x1a) this.#state = 'text';
        else if (code === 0x1b) this.#state = 'string escape';
        return '';
      case 'string escape':
        this.#state = char === '\\' ? 'text' : 'escape';
        return this.#state === 'escape' ? this.#next(char) : '';
      default:
        this.#state = 'text';
        return '';
    }
  }
}

/** A screen that nothing changes for so long is one that somebody saw. */
const QUIET_MS = 100;
/** Screens are looked at no more often than this, and no more often than so many times in the whole recording. */
const SAMPLE_MS = 400;
const SAMPLES = 20_000;
const LONGEST_LINE = 8192;
/** A line that was seen longer ago is another one. */
const GROWING_MS = 3000;

/**
 * Looks for a text in what was written, line by line, and in what stood on the screen, since programs that move the
 * cursor never write a line in one piece. Events are given in order, with the number of those before each.
 */
export class Search {
  readonly hits: Hit[] = [];
  readonly #find: (line: string) => { from: number; to: number } | undefined;
  readonly #plain = new PlainText();
  #line = '';
  #returned = false;
  #changed = { after: 0, at: 0 };
  #shown = new Set<string>();
  #drawn = false;
  #sampled = -Infinity;
  readonly #spacing: number;
  readonly #recent: { hit: Hit; seen: number }[] = [];

  /** @param screen a terminal that nobody sees; without one, only lines are looked at. */
  constructor(query: string, duration: number, private readonly screen?: Term) {
    this.#find = finder(query);
    this.#spacing = Math.max(SAMPLE_MS, duration / SAMPLES);
  }

  get full(): boolean {
    return this.hits.length >= MOST_HITS;
  }

  push(event: Played, index: number, next: Played | undefined): void {
    const { what, at } = event;
    if (what.kind === 'output' || what.kind === 'error_output') {
      this.#written(this.#plain.push(what.bytes), index + 1, at);
      if (what.kind === 'output' && this.screen) writeNow(this.screen, what.bytes);
      this.#drawn ||= this.#plain.moved;
      this.#plain.moved = false;
    } else if (what.kind === 'resize') {
      if (this.screen) resizeTo(this.screen, what.cols, what.rows);
    } else if (what.kind === 'note' || what.kind === 'exec') {
      this.#look(what.text, index + 1, at);
    }
    const quiet = next === undefined ? Infinity : next.at - at;
    // A line that is being typed.
    if (quiet >= QUIET_MS && this.#line !== '') this.#look(this.#line, index + 1, at);
    if (!this.#drawn) return;
    if (quiet >= this.#spacing || (quiet >= QUIET_MS && at - this.#sampled >= this.#spacing)) this.#sample(index + 1, at);
  }

  #written(text: string, after: number, at: number): void {
    for (const piece of text.split(/([\r\n])/)) {
      if (piece === '\r') {
        this.#returned = true;
      } else if (piece === '\n') {
        this.#endLine();
      } else if (piece !== '') {
        // What is written after a carriage return takes the place of what was there: a progress bar.
        if (this.#returned) this.#endLine();
        this.#line = (this.#line + piece).slice(-LONGEST_LINE);
        this.#changed = { after, at };
      }
    }
  }

  /** The line is of the moment at which its last part was written, whenever it ends. */
  #endLine(): void {
    this.#look(this.#line, this.#changed.after, this.#changed.at);
    this.#line = '';
    this.#returned = false;
  }

  #sample(after: number, at: number): void {
    this.#drawn = false;
    this.#sampled = at;
    if (this.screen === undefined) return;
    const now = new Set<string>();
    for (const row of rowsOf(this.screen)) {
      const line = row.trim();
      if (line === '' || this.#find(line) === undefined) continue;
      now.add(line);
      if (!this.#shown.has(line)) this.#look(line, after, at);
    }
    this.#shown = now;
  }

  #look(line: string, after: number, at: number): void {
    const text = line.trim();
    const match = this.#find(text);
    if (match === undefined || this.full) return;
    const shown = around(text, match);
    // The same line is seen as it is written and again on the screen, and a line that is typed grows: that is one hit,
    // of the moment at which the text was there.
    const again = this.#recent.findLast(({ hit, seen }) => at - seen < GROWING_MS && (shown.text.startsWith(hit.text) || hit.text.startsWith(shown.text)));
    if (again !== undefined) {
      if (shown.text.length > again.hit.text.length) again.hit.text = shown.text;
      again.seen = at;
      return;
    }
    const hit = { after, at, ...shown };
    this.hits.push(hit);
    this.#recent.push({ hit, seen: at });
    if (this.#recent.length > 64) this.#recent.shift();
  }

  /** The last line, which nothing ended. */
  finish(): void {
    if (this.#line !== '') this.#endLine();
  }
}
