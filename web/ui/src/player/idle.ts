/** A time without output. */
export interface Idle {
  from: number;
  to: number;
}

/** Shorter pauses are part of reading along. */
export const IDLE_MS = 3000;
/** What is shown of a pause before it is skipped, and before what ends it. */
const LEAD_IN_MS = 1000;
const LEAD_OUT_MS = 500;

/** Finds the times in which nothing happened, as the events come. */
export class IdleFinder {
  readonly spans: Idle[] = [];
  #last = 0;

  constructor(private readonly least = IDLE_MS) {}

  push(at: number): void {
    if (at - this.#last >= this.least) this.spans.push({ from: this.#last, to: at });
    this.#last = Math.max(this.#last, at);
  }
}

/** The span that this moment is in, its ends not included. */
export function idleAt(spans: readonly Idle[], at: number): Idle | undefined {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((spans[middle] as Idle).from < at) low = middle + 1;
    else high = middle;
  }
  const span = spans[low - 1];
  return span !== undefined && at < span.to ? span : undefined;
}

export interface Step {
  at: number;
  /** The pause that was skipped on the way, and by how much. */
  skipped?: { span: Idle; ms: number } | undefined;
}

/** The first pause of which something is still to be skipped. */
function nextPause(spans: readonly Idle[], at: number): Idle | undefined {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((spans[middle] as Idle).to - LEAD_OUT_MS <= at) low = middle + 1;
    else high = middle;
  }
  return spans[low];
}

/** Where playback is after `elapsed` milliseconds of a person's time. */
export function advance(at: number, elapsed: number, speed: number, end: number, spans: readonly Idle[], skip: boolean): Step {
  let left = elapsed * speed;
  let now = at;
  let skipped: Step['skipped'];
  while (now < end) {
    const span = skip ? nextPause(spans, now) : undefined;
    const jump = span === undefined ? Infinity : Math.max(now, span.from + LEAD_IN_MS);
    if (span === undefined || now + left < jump) return { at: Math.min(now + left, end), skipped };
    left -= jump - now;
    now = span.to - LEAD_OUT_MS;
    skipped = { span, ms: now - jump };
  }
  return { at: end, skipped };
}

/** How long the recording plays with its pauses skipped. */
export function playedLength(end: number, spans: readonly Idle[]): number {
  const saved = spans.reduce((sum, { from, to }) => sum + Math.max(0, to - from - LEAD_IN_MS - LEAD_OUT_MS), 0);
  return Math.max(0, end - saved);
}
