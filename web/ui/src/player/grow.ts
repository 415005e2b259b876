/** A list of whole numbers below 2^32 that grows: four bytes each, where an array of numbers takes more. */
export class GrowingList {
  #items = new Uint32Array(1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#items.length) {
      const larger = new Uint32Array(this.#items.length * 2);
      larger.set(this.#items);
      this.#items = larger;
    }
    this.#items[this.#length++] = value;
  }

  /** The value at a place; 0 where there is none. */
  at(index: number): number {
    return index >= 0 && index < this.#length ? (this.#items[index] as number) : 0;
  }

  /** How many leading values are at most this, in a list that never falls. */
  countUpTo(value: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#items[middle] as number) <= value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
