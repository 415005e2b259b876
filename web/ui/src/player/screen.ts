/**
 * The whole state of a terminal, taken out and put back. What a terminal serializes to as text leaves out scroll regions,
 * saved cursors, character sets, tab stops and wrapped lines, and a screen that is built from it goes wrong a second later;
 * so the state itself is copied. It reaches into fields of xterm.js that are not part of its interface: the version is
 * pinned, and `screen.test.ts` shows for every way of seeking that nothing is missing.
 */

/** What is used of a terminal: of the one that is looked at and of those that nobody sees. */
export interface Term {
  readonly cols: number;
  readonly rows: number;
  readonly options: { convertEol?: boolean | undefined };
  resize(cols: number, rows: number): void;
  readonly parser: {
    registerOscHandler(id: number, handler: (data: string) => boolean): unknown;
    registerCsiHandler(id: { prefix?: string; intermediates?: string; final: string }, handler: (params: (number | number[])[]) => boolean): unknown;
    registerDcsHandler(id: { prefix?: string; intermediates?: string; final: string }, handler: (data: string, params: (number | number[])[]) => boolean): unknown;
  };
}

interface Cloned {
  clone(): Cloned;
}
interface Line extends Cloned {
  isWrapped: boolean;
  length: number;
}
interface Lines {
  length: number;
  maxLength: number;
  get(index: number): Line;
  set(index: number, line: Line): void;
}
interface Buffer {
  lines: Lines;
  x: number;
  y: number;
  ybase: number;
  ydisp: number;
  scrollTop: number;
  scrollBottom: number;
  savedX: number;
  savedY: number;
  savedCurAttrData: Cloned;
  savedCharset: unknown;
  tabs: Record<number, boolean | undefined>;
}
interface Core {
  writeSync(data: Uint8Array): void;
  _bufferService: { buffers: { normal: Buffer; alt: Buffer; active: Buffer; activateNormalBuffer(): void; activateAltBuffer(): void } };
  _charsetService: { glevel: number; charset: unknown; _charsets: unknown[] };
  _inputHandler: {
    _curAttrData: Cloned;
    _eraseAttrDataInternal: Cloned;
    _parser: { currentState: number; precedingJoinState: number };
    _utf8Decoder: { interim: Uint8Array };
  };
  coreService: { isCursorInitialized: boolean; isCursorHidden: boolean; modes: object; decPrivateModes: object };
}

/**
 * Writes at once. The terminal's own `write` waits for a timer between any two pieces, which for a recording of some
 * hundred thousand pieces comes to minutes; its warning is about handlers that wait, of which there are none here.
 */
export const writeNow = (term: Term, data: Uint8Array): void => coreOf(term).writeSync(data);

/** A terminal of a size that somebody said. One who has no screen says zero, and a hostile one says anything. */
export function resizeTo(term: Term, cols: number, rows: number): void {
  if (cols > 0 && rows > 0) term.resize(Math.max(2, Math.min(cols, 1000)), Math.min(rows, 500));
}

const coreOf = (term: Term): Core => (term as unknown as { _core: Core })._core;

type Place = Omit<Buffer, 'lines'> & { lines: Line[]; room: number };

/** A screen as it was. Immutable. */
export interface Frozen {
  cols: number;
  rows: number;
  alternate: boolean;
  normal: Place;
  alt: Place;
  glevel: number;
  charset: unknown;
  charsets: unknown[];
  attributes: Cloned;
  erase: Cloned;
  joining: number;
  cursorHidden: boolean;
  cursorInitialized: boolean;
  modes: object;
  privateModes: object;
  /** Whether a line feed returns the carriage as well (`CSI 20 h`); xterm.js keeps it among its options. */
  convertEol: boolean;
  /** About what it takes in memory. */
  bytes: number;
}

function takePlace(buffer: Buffer): Place {
  const lines: Line[] = [];
  for (let i = 0; i < buffer.lines.length; i++) lines.push(buffer.lines.get(i).clone() as Line);
  const { x, y, ybase, ydisp, scrollTop, scrollBottom, savedX, savedY, savedCharset } = buffer;
  return {
    lines, room: buffer.lines.maxLength, x, y, ybase, ydisp, scrollTop, scrollBottom, savedX, savedY, savedCharset,
    savedCurAttrData: buffer.savedCurAttrData.clone(),
    tabs: { ...buffer.tabs },
  };
}

function putPlace(buffer: Buffer, place: Place): void {
  const { lines, room, savedCurAttrData, tabs, ...rest } = place;
  if (buffer.lines.maxLength !== room) buffer.lines.maxLength = room;
  buffer.lines.length = lines.length;
  lines.forEach((line, i) => buffer.lines.set(i, line.clone() as Line));
  Object.assign(buffer, rest, { savedCurAttrData: savedCurAttrData.clone(), tabs: { ...tabs } });
}

/** Whether the terminal is between two sequences and two characters: only then is its state all in its fields. */
export function settled(term: Term): boolean {
  const { _parser, _utf8Decoder } = coreOf(term)._inputHandler;
  return _parser.currentState === 0 && _utf8Decoder.interim[0] === 0;
}

export function freeze(term: Term): Frozen {
  const core = coreOf(term);
  const { buffers } = core._bufferService;
  const { _charsetService: sets, _inputHandler: input, coreService } = core;
  const normal = takePlace(buffers.normal);
  const alt = takePlace(buffers.alt);
  return {
    cols: term.cols,
    rows: term.rows,
    alternate: buffers.active === buffers.alt,
    normal,
    alt,
    glevel: sets.glevel,
    charset: sets.charset,
    charsets: [...sets._charsets],
    attributes: input._curAttrData.clone(),
    erase: input._eraseAttrDataInternal.clone(),
    joining: input._parser.precedingJoinState,
    cursorHidden: coreService.isCursorHidden,
    cursorInitialized: coreService.isCursorInitialized,
    modes: { ...coreService.modes },
    privateModes: { ...coreService.decPrivateModes },
    convertEol: term.options.convertEol ?? false,
    bytes: (normal.lines.length + alt.lines.length) * (term.cols * 12 + 160) + 2048,
  };
}

export function thaw(term: Term, frozen: Frozen): void {
  if (term.cols !== frozen.cols || term.rows !== frozen.rows) term.resize(frozen.cols, frozen.rows);
  const core = coreOf(term);
  const { buffers } = core._bufferService;
  const { _charsetService: sets, _inputHandler: input, coreService } = core;
  if (frozen.alternate) buffers.activateAltBuffer();
  else buffers.activateNormalBuffer();
  putPlace(buffers.normal, frozen.normal);
  putPlace(buffers.alt, frozen.alt);
  Object.assign(sets, { glevel: frozen.glevel, charset: frozen.charset, _charsets: [...frozen.charsets] });
  input._curAttrData = frozen.attributes.clone();
  input._eraseAttrDataInternal = frozen.erase.clone();
  input._parser.currentState = 0;
  input._parser.precedingJoinState = frozen.joining;
  input._utf8Decoder.interim.fill(0);
  coreService.isCursorHidden = frozen.cursorHidden;
  coreService.isCursorInitialized = frozen.cursorInitialized;
  coreService.modes = { ...frozen.modes };
  coreService.decPrivateModes = { ...frozen.privateModes };
  if (term.options.convertEol !== frozen.convertEol) term.options.convertEol = frozen.convertEol;
}

/** Private modes by which a program asks for the mouse, the focus, pasted text in brackets, or to hold back the
 * screen; and the blinking of the cursor, which is the reader's choice. */
const NOT_DRAWING = new Set([9, 12, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004, 2026]);

/**
 * Leaves a terminal nothing but drawing. What a recording holds was sent by a host that may be hostile: it sets no title
 * and no colour of the page, makes no link, writes no clipboard, and whatever it asks is answered to nobody.
 */
export function onlyDraws(term: Term): void {
  const swallow = () => true;
  // Titles, colours, notifications, folders, links, the clipboard, and what other terminals made of the same numbers.
  for (const id of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 50, 51, 52, 60, 99, 104, 105, 106, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 133, 176, 440, 555, 633, 666, 697, 777, 1337, 3008, 5113, 9001]) {
    term.parser.registerOscHandler(id, swallow);
  }
  // Questions about the terminal: status, attributes, versions, modes, and requests to the window.
  for (const id of [
    { final: 'c' }, { prefix: '>', final: 'c' }, { prefix: '=', final: 'c' }, { final: 'n' }, { prefix: '?', final: 'n' },
    { final: 't' }, { prefix: '>', final: 'q' }, { intermediates: '$', final: 'p' }, { prefix: '?', intermediates: '$', final: 'p' },
    { prefix: '?', final: 'u' }, { prefix: '>', final: 'u' }, { prefix: '<', final: 'u' }, { prefix: '=', final: 'u' },
  ]) {
    term.parser.registerCsiHandler(id, swallow);
  }
  for (const id of [{ intermediates: '$', final: 'q' }, { intermediates: '+', final: 'q' }, { final: 'q' }, { final: '|' }]) {
    term.parser.registerDcsHandler(id, swallow);
  }
  const modes = (params: (number | number[])[]) => params.every((p) => typeof p === 'number' && NOT_DRAWING.has(p));
  for (const final of ['h', 'l']) term.parser.registerCsiHandler({ prefix: '?', final }, modes);
}

/** The rows of what is shown, as text. */
export function rowsOf(term: Term): string[] {
  const { active } = coreOf(term)._bufferService.buffers;
  const rows: string[] = [];
  for (let i = 0; i < term.rows; i++) {
    const line = active.lines.get(active.ybase + i) as (Line & { translateToString(trim: boolean): string }) | undefined;
    rows.push(line?.translateToString(true) ?? '');
  }
  return rows;
}
