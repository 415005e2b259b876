import { weight, type MaskedRule, type Played, type RecordingSpec } from './events';
import { WallClock } from './clock';
import { GrowingList } from './grow';
import { IdleFinder } from './idle';
import { freeze, resizeTo, settled, thaw, writeNow, type Frozen, type Term } from './screen';
import { Search, type Hit } from './search';
import { Store } from './store';

/** Output after which a screen is kept: what a seek has to write at most. */
const KEYFRAME_BYTES = 192 * 1024;
const KEYFRAME_EVENTS = 4096;
/** What all kept screens may take; then every other one is given up, and they are kept half as often. */
const KEYFRAME_BUDGET = 32 * 1024 * 1024;

interface Keyframe {
  /** The number of events that it shows. */
  after: number;
  screen: Frozen;
}

/** So long the page may stand still at a time. */
const SLICE_MS = 20;

const pause = (): Promise<void> => new Promise((done) => setTimeout(done));

/** One event as a terminal shows it. */
export function applyOne(term: Term, { what }: Played): void {
  if (what.kind === 'output') writeNow(term, what.bytes);
  else if (what.kind === 'resize') resizeTo(term, what.cols, what.rows);
}

/** Events as a terminal shows them; long runs let the page breathe. */
export async function apply(term: Term, events: readonly Played[]): Promise<void> {
  let since = performance.now();
  for (const event of events) {
    applyOne(term, event);
    if (performance.now() - since < SLICE_MS) continue;
    await pause();
    since = performance.now();
  }
}

/**
 * A recording: its events in bounded memory, an index of times, and screens kept on the way, so that the screen of any
 * moment is at hand. Knows nothing of the page.
 */
export class Engine {
  readonly clock = new WallClock();
  readonly idle = new IdleFinder();
  /** Things that a list of moments shows, beside what the audit log knows. */
  readonly marks: { at: number; what: Exclude<Played['what'], { bytes: Uint8Array }> }[] = [];
  start: RecordingSpec | undefined;
  /** The last line of the stream, once it came. */
  end: { complete: boolean; text: string } | undefined;
  /** What rules masked in this copy, if it is one that leaves the cluster. */
  masked: readonly MaskedRule[] | undefined;
  hasOutput = false;

  readonly #store: Store;
  readonly #times = new GrowingList();
  readonly #outputs = new GrowingList();
  readonly #keyframes: Keyframe[] = [];
  readonly #indexer: Term;
  readonly #seeker: Term;
  #interval = 1;
  #indexed = 0;
  #sinceKeyframe = { bytes: 0, events: 0 };
  #seekerAt = -1;
  #queue: Promise<unknown> = Promise.resolve();
  #blank: Frozen;

  /** @param make gives a terminal that nobody sees, of the size in which sessions begin. */
  constructor(private readonly make: () => Term, store = new Store(), private readonly keyframeBytes = KEYFRAME_BYTES) {
    this.#store = store;
    this.#indexer = make();
    this.#seeker = make();
    this.#blank = freeze(this.#indexer);
  }

  get count(): number {
    return this.#times.length;
  }

  /** Milliseconds of the last event. */
  get duration(): number {
    return this.#times.at(this.count - 1);
  }

  get keyframes(): number {
    return this.#keyframes.length;
  }

  get heldBytes(): number {
    return this.#store.packedBytes + this.#keyframes.reduce((sum, { screen }) => sum + screen.bytes, 0);
  }

  /** Takes the next event. */
  push(event: Played): void {
    const at = Math.max(event.at, this.duration);
    this.#times.push(at);
    this.clock.push(at, event.wall);
    const { what } = event;
    if (what.kind === 'output' || what.kind === 'error_output') {
      this.hasOutput = true;
      this.#outputs.push(this.count);
    }
    if (what.kind !== 'input_size') this.idle.push(at);
    if (!('bytes' in what) && what.kind !== 'input_size' && this.marks.length < 10_000) this.marks.push({ at, what });
    this.#store.push(at === event.at ? event : { ...event, at });
  }

  /** How many events have happened at a moment. */
  countAt(ms: number): number {
    return this.#times.countUpTo(Math.floor(ms));
  }

  /** The moment of the event with this number, from 1. */
  momentOf(after: number): number {
    return this.#times.at(Math.max(0, after - 1));
  }

  /** The number of events up to and with the next output after so many, if there is one. */
  nextFrame(after: number): number | undefined {
    const index = this.#outputs.countUpTo(after);
    return index < this.#outputs.length ? this.#outputs.at(index) : undefined;
  }

  previousFrame(after: number): number | undefined {
    const index = this.#outputs.countUpTo(after - 1);
    return index > 0 ? this.#outputs.at(index - 1) : undefined;
  }

  /** Plays what has come to the indexing screen and keeps screens on the way. Calls run one after another. */
  index(): Promise<void> {
    return this.#inTurn(async () => {
      const to = this.count;
      for await (const run of this.#store.range(this.#indexed, to)) {
        let from = 0;
        for (let i = 0; i < run.length; i++) {
          const since = this.#sinceKeyframe;
          since.bytes += weight(run[i] as Played);
          since.events += 1;
          if (since.bytes < this.keyframeBytes * this.#interval && since.events < KEYFRAME_EVENTS * this.#interval) continue;
          await apply(this.#indexer, run.slice(from, i + 1));
          from = i + 1;
          this.#keep(this.#indexed + i + 1);
        }
        await apply(this.#indexer, run.slice(from));
        this.#indexed += run.length;
      }
    });
  }

  #keep(after: number): void {
    if (!settled(this.#indexer)) return; // In the middle of a sequence: the next event will do.
    this.#keyframes.push({ after, screen: freeze(this.#indexer) });
    this.#sinceKeyframe = { bytes: 0, events: 0 };
    if (this.#keyframes.reduce((sum, { screen }) => sum + screen.bytes, 0) <= KEYFRAME_BUDGET) return;
    this.#interval *= 2;
    const kept = this.#keyframes.filter((_, i) => i % 2 === 1);
    this.#keyframes.splice(0, this.#keyframes.length, ...kept);
  }

  #keyframeFor(after: number): Keyframe {
    return this.#keyframes.findLast((keyframe) => keyframe.after <= after) ?? { after: 0, screen: this.#blank };
  }

  /** Brings a terminal from one number of events to another. `from` is -1 if nobody knows what it shows. */
  show(term: Term, from: number, to: number): Promise<void> {
    return this.#inTurn(() => this.#bring(term, from, to));
  }

  /** The same without anything of the way being seen. */
  showAtOnce(term: Term, to: number): Promise<void> {
    return this.#inTurn(async () => {
      await this.#bring(this.#seeker, this.#seekerAt, to);
      this.#seekerAt = to;
      if (settled(this.#seeker)) thaw(term, freeze(this.#seeker));
      else await this.#bring(term, -1, to);
    });
  }

  async #bring(term: Term, from: number, to: number): Promise<void> {
    const keyframe = this.#keyframeFor(to);
    let next = from;
    if (from < 0 || from > to || keyframe.after > from) {
      thaw(term, keyframe.screen);
      next = keyframe.after;
    }
    for await (const run of this.#store.range(next, to)) await apply(term, run);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work, work);
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  /** Texts of a command without a terminal, up to a number of events, at most so many bytes of each. */
  async texts(to: number, most: number): Promise<Record<'output' | 'error_output' | 'input', { text: string; cut: number }>> {
    const kinds = ['output', 'error_output', 'input'] as const;
    const found = { output: { text: '', cut: 0 }, error_output: { text: '', cut: 0 }, input: { text: '', cut: 0 } };
    const decoders = Object.fromEntries(kinds.map((kind) => [kind, new TextDecoder()])) as Record<(typeof kinds)[number], TextDecoder>;
    for await (const run of this.#store.range(0, to)) {
      for (const { what } of run) {
        if (!('bytes' in what)) continue;
        const into = found[what.kind];
        if (into.text.length >= most) into.cut += what.bytes.length;
        else into.text += decoders[what.kind].decode(what.bytes, { stream: true });
      }
    }
    return found;
  }

  /** Looks for a text in all that has come; reports as it goes, until it is told to stop. */
  async search(query: string, report: (hits: readonly Hit[], done: boolean) => void, stop: AbortSignal): Promise<void> {
    const search = new Search(query, this.duration, this.make());
    const to = this.count;
    let index = 0;
    let before: Played | undefined;
    let told = 0;
    let since = performance.now();
    for await (const run of this.#store.range(0, to)) {
      for (const event of run) {
        if (before !== undefined) search.push(before, index++, event);
        before = event;
        if (search.full) break;
        if (performance.now() - since < SLICE_MS) continue;
        await pause();
        if (stop.aborted) return;
        since = performance.now();
      }
      if (search.hits.length > told) report([...search.hits], false);
      told = search.hits.length;
      if (search.full) break;
    }
    if (before !== undefined && !search.full) search.push(before, index++, undefined);
    search.finish();
    if (!stop.aborted) report([...search.hits], true);
  }
}
