import type { components } from '../api/schema';

export type PlayLine = components['schemas']['PlayLine'];
export type PlayEvent = components['schemas']['PlayEvent'];
export type RecordingSpec = components['schemas']['RecordingSpec'];
export type MaskedRule = components['schemas']['MaskedRule'];

/** What happened, with bytes as bytes. */
export type What =
  | { kind: 'output' | 'error_output' | 'input'; bytes: Uint8Array }
  | { kind: 'input_size'; size: number }
  | { kind: 'resize'; cols: number; rows: number }
  | { kind: 'note' | 'exec'; text: string }
  | { kind: 'exit'; status: number }
  | { kind: 'captured'; direction: string; size: number; recorded: number; sha256: string };

export interface Played {
  /** Milliseconds since the session began. */
  at: number;
  /** Milliseconds since 1970. */
  wall: number;
  what: What;
}

const empty = new Uint8Array(0);

export function fromBase64(text: string): Uint8Array {
  if (text === '') return empty;
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function whatOf(event: PlayEvent): What {
  if ('output' in event) return { kind: 'output', bytes: fromBase64(event.output) };
  if ('error_output' in event) return { kind: 'error_output', bytes: fromBase64(event.error_output) };
  if ('input' in event) return { kind: 'input', bytes: fromBase64(event.input) };
  if ('input_size' in event) return { kind: 'input_size', size: event.input_size };
  if ('resize' in event) return { kind: 'resize', ...event.resize };
  if ('note' in event) return { kind: 'note', text: event.note };
  if ('exec' in event) return { kind: 'exec', text: event.exec };
  if ('exit' in event) return { kind: 'exit', status: event.exit };
  return { kind: 'captured', ...event.captured };
}

/** One line of the stream; an event becomes a `Played`. */
export function readLine(text: string): { start: RecordingSpec } | { event: Played } | { masked: MaskedRule[] } | { end: { complete: boolean; text: string } } {
  const line = JSON.parse(text) as PlayLine;
  if ('event' in line) {
    const { at_ms, wall_ms, what } = line.event;
    return { event: { at: at_ms, wall: wall_ms, what: whatOf(what) } };
  }
  return line;
}

/** Bytes that this event shows; what an event costs to replay. */
export function weight(event: Played): number {
  return 'bytes' in event.what ? event.what.bytes.length : 0;
}

const KINDS = ['output', 'error_output', 'input', 'input_size', 'resize', 'note', 'exec', 'exit', 'captured'] as const;
const HEADER = 17; // at u32, wall f64, kind u8, length u32

/** Events as one block of bytes: what is kept of a part of the recording that is not being looked at. */
export function encode(events: readonly Played[]): Uint8Array {
  const texts = new TextEncoder();
  const bodies = events.map(({ what }) => ('bytes' in what ? what.bytes : texts.encode(JSON.stringify(what))));
  const size = bodies.reduce((sum, body) => sum + HEADER + body.length, 0);
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  let offset = 0;
  events.forEach((event, i) => {
    const body = bodies[i] as Uint8Array;
    view.setUint32(offset, event.at);
    view.setFloat64(offset + 4, event.wall);
    view.setUint8(offset + 12, KINDS.indexOf(event.what.kind));
    view.setUint32(offset + 13, body.length);
    out.set(body, offset + HEADER);
    offset += HEADER + body.length;
  });
  return out;
}

export function decode(block: Uint8Array): Played[] {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const texts = new TextDecoder();
  const events: Played[] = [];
  for (let offset = 0; offset < block.length; ) {
    const kind = KINDS[view.getUint8(offset + 12)];
    const length = view.getUint32(offset + 13);
    const body = block.subarray(offset + HEADER, offset + HEADER + length);
    const what: What =
      kind === 'output' || kind === 'error_output' || kind === 'input'
        ? { kind, bytes: body }
        : (JSON.parse(texts.decode(body)) as What);
    events.push({ at: view.getUint32(offset), wall: view.getFloat64(offset + 4), what });
    offset += HEADER + length;
  }
  return events;
}
