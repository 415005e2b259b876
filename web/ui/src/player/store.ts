import { decode, encode, weight, type Played } from './events';

/** Bytes after which a part is closed. */
const PART_BYTES = 256 * 1024;
const PART_EVENTS = 8192;
/** Parts that are kept unpacked. */
const OPEN_PARTS = 6;
/** What all packed parts may take together. */
const BUDGET = 96 * 1024 * 1024;

export interface Packer {
  pack(block: Uint8Array): Promise<Uint8Array>;
  unpack(block: Uint8Array): Promise<Uint8Array>;
}

async function through(block: Uint8Array, stream: GenericTransformStream): Promise<Uint8Array> {
  const body = new Response(new Blob([block as BlobPart]).stream().pipeThrough(stream as ReadableWritablePair));
  return new Uint8Array(await body.arrayBuffer());
}

export const deflate: Packer = {
  pack: (block) => through(block, new CompressionStream('deflate-raw')),
  unpack: (block) => through(block, new DecompressionStream('deflate-raw')),
};

interface Part {
  first: number;
  count: number;
  /** None: it was given up to stay within the budget, and has to be read again. */
  packed?: Uint8Array | undefined;
  plain?: Played[] | undefined;
  packing?: Promise<void> | undefined;
  used: number;
}

/** Splits events into parts at the same places whenever it sees the same events. */
export class Splitter {
  #bytes = 0;
  #events: Played[] = [];

  /** The part that this event completes, if it does. */
  push(event: Played): Played[] | undefined {
    this.#events.push(event);
    this.#bytes += weight(event);
    if (this.#bytes < PART_BYTES && this.#events.length < PART_EVENTS) return undefined;
    const done = this.#events;
    this.#events = [];
    this.#bytes = 0;
    return done;
  }

  get open(): readonly Played[] {
    return this.#events;
  }
}

/** Reads one part of the recording from its source again. */
export type Reread = (part: number) => Promise<Played[]>;

/** All events of a recording in bounded memory: parts are packed, and the least used ones given up when it is too much. */
export class Store {
  readonly #parts: Part[] = [];
  readonly #splitter = new Splitter();
  #closed = 0;
  #packedBytes = 0;
  #clock = 0;

  constructor(
    private readonly packer: Packer = deflate,
    private readonly reread: Reread = () => Promise.reject(new Error('this part of the recording is not here any more')),
    private readonly budget = BUDGET,
  ) {}

  get count(): number {
    return this.#closed + this.#splitter.open.length;
  }

  get packedBytes(): number {
    return this.#packedBytes;
  }

  push(event: Played): void {
    const done = this.#splitter.push(event);
    if (done === undefined) return;
    const part: Part = { first: this.#closed, count: done.length, plain: done, used: ++this.#clock };
    this.#closed += done.length;
    this.#parts.push(part);
    part.packing = this.packer.pack(encode(done)).then((packed) => {
      part.packed = packed;
      part.packing = undefined;
      this.#packedBytes += packed.length;
      this.#tidy();
    });
  }

  /** Waits until what can be packed is. */
  async settle(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.packing));
  }

  /** The events from `from` up to `to` (not included), run by run. */
  async *range(from: number, to: number): AsyncGenerator<readonly Played[]> {
    let next = from;
    while (next < Math.min(to, this.#closed)) {
      const index = this.#partOf(next);
      const events = await this.#open(index);
      const part = this.#parts[index] as Part;
      const start = next - part.first;
      const end = Math.min(to - part.first, part.count);
      yield events.slice(start, end);
      next = part.first + end;
    }
    if (next < to) {
      const open = this.#splitter.open.slice(next - this.#closed, to - this.#closed);
      if (open.length > 0) yield open;
    }
  }

  async event(index: number): Promise<Played | undefined> {
    for await (const run of this.range(index, index + 1)) return run[0];
    return undefined;
  }

  #partOf(index: number): number {
    let low = 0;
    let high = this.#parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#parts[middle] as Part).first <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  async #open(index: number): Promise<Played[]> {
    const part = this.#parts[index] as Part;
    part.used = ++this.#clock;
    if (part.plain) return part.plain;
    const events = part.packed ? decode(await this.packer.unpack(part.packed)) : await this.reread(index);
    part.plain = events;
    this.#tidy();
    return events;
  }

  #tidy(): void {
    const oldest = (parts: Part[]) => parts.sort((a, b) => a.used - b.used);
    const plain = oldest(this.#parts.filter((part) => part.plain && part.packing === undefined));
    for (const part of plain.slice(0, Math.max(0, plain.length - OPEN_PARTS))) part.plain = undefined;
    if (this.#packedBytes <= this.budget) return;
    for (const part of oldest(this.#parts.filter((part) => part.packed))) {
      if (this.#packedBytes <= this.budget) break;
      this.#packedBytes -= part.packed?.length ?? 0;
      part.packed = undefined;
    }
  }
}
