/** Two clocks within so many milliseconds of one another are the same: both are rounded. */
const JITTER_MS = 5;

/** Which wall-clock time belongs to a moment of the session. The recording's clock may be set in between: each change is kept. */
export class WallClock {
  readonly #changes: { at: number; offset: number }[] = [];

  push(at: number, wall: number): void {
    const last = this.#changes.at(-1);
    const offset = wall - at;
    if (last === undefined || Math.abs(last.offset - offset) > JITTER_MS) this.#changes.push({ at, offset });
  }

  /** Milliseconds since 1970 at this moment; `undefined` while nothing is known. */
  wallAt(at: number): number | undefined {
    let low = 0;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#changes[middle] as { at: number }).at <= at) low = middle + 1;
      else high = middle;
    }
    const found = this.#changes[Math.max(0, low - 1)];
    return found === undefined ? undefined : at + found.offset;
  }

  get changes(): number {
    return this.#changes.length;
  }
}
