import type { Engine } from './engine';
import { advance, type Idle } from './idle';
import type { Term } from './screen';

/** So many events are written one after another for all to see; beyond that only the result is shown. */
const ALONG_THE_WAY = 400;

export interface View {
  /** Milliseconds since the session began. */
  at: number;
  playing: boolean;
  speed: number;
  skip: boolean;
  /** It stands at the end of what has come, and goes on when more does. */
  waiting: boolean;
  /** Of the pause that was skipped last: how long it was, and when that was (by the reader's clock). */
  skipped: { span: Idle; ms: number; when: number } | undefined;
  /** The number of events that are shown. */
  shown: number;
}

/** What is played where, and how fast. Draws onto one terminal; knows the time only from `tick`. */
export class Playback {
  #view: View = { at: 0, playing: false, speed: 1, skip: true, waiting: false, skipped: undefined, shown: 0 };
  #onScreen = -1;
  #drawing = false;
  #last: number | undefined;
  readonly #listeners = new Set<() => void>();
  /** More may come. */
  open = true;

  constructor(readonly engine: Engine, private readonly term: (Term & { refresh?(from: number, to: number): void }) | undefined) {}

  readonly subscribe = (tell: () => void): (() => void) => {
    this.#listeners.add(tell);
    return () => this.#listeners.delete(tell);
  };
  readonly view = (): View => this.#view;

  #set(change: Partial<View>): void {
    this.#view = { ...this.#view, ...change };
    for (const tell of this.#listeners) tell();
  }

  get end(): number {
    return this.engine.duration;
  }

  play(): void {
    this.#last = undefined;
    const again = !this.open && this.#view.at >= this.end;
    this.#set({ playing: true, ...(again ? { at: 0 } : {}) });
    void this.#draw();
  }

  pause(): void {
    this.#set({ playing: false, waiting: false });
  }

  toggle(): void {
    if (this.#view.playing) this.pause();
    else this.play();
  }

  setSpeed(speed: number): void {
    this.#set({ speed });
  }

  setSkip(skip: boolean): void {
    this.#set({ skip });
  }

  seek(ms: number): void {
    this.#set({ at: Math.max(0, Math.min(ms, this.end)), waiting: false, skipped: undefined });
    void this.#draw();
  }

  /** To the next or the last output before, and stops there. */
  frame(direction: 1 | -1): void {
    const { shown } = this.#view;
    const next = direction === 1 ? this.engine.nextFrame(shown) : this.engine.previousFrame(shown);
    if (next === undefined) return;
    this.#set({ playing: false, waiting: false });
    this.#set({ at: this.engine.momentOf(next) });
    void this.#draw();
  }

  /** To the newest, and on with it. */
  follow(): void {
    this.seek(this.end);
    this.play();
  }

  tick(now: number): void {
    const elapsed = this.#last === undefined ? 0 : Math.min(1000, now - this.#last);
    this.#last = now;
    const { playing, at, speed, skip } = this.#view;
    if (!playing) return;
    const step = advance(at, elapsed, speed, this.end, this.engine.idle.spans, skip);
    const atEnd = step.at >= this.end;
    const skipped = step.skipped ? { ...step.skipped, when: now } : this.#view.skipped;
    if (step.at !== at || atEnd !== this.#view.waiting) {
      this.#set({ at: step.at, waiting: atEnd && this.open, playing: !atEnd || this.open, skipped });
    }
    void this.#draw();
  }

  async #draw(): Promise<void> {
    const wanted = () => this.engine.countAt(this.#view.at);
    if (this.#view.shown !== wanted()) this.#set({ shown: wanted() });
    const { term } = this;
    if (this.#drawing || term === undefined) return;
    this.#drawing = true;
    try {
      for (let to = wanted(); to !== this.#onScreen; to = wanted()) {
        const near = this.#onScreen >= 0 && to > this.#onScreen && to - this.#onScreen <= ALONG_THE_WAY;
        if (near) {
          await this.engine.show(term, this.#onScreen, to);
        } else {
          await this.engine.showAtOnce(term, to);
          term.refresh?.(0, term.rows - 1);
        }
        this.#onScreen = to;
      }
    } finally {
      this.#drawing = false;
    }
  }

  /** Waits until the screen shows what it should. */
  async drawn(): Promise<void> {
    while (this.#drawing) await new Promise((done) => setTimeout(done, 1));
  }
}
