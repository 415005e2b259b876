import type { Path } from './schema';

export interface Position {
  /** The keys above the place where the cursor is. */
  parents: Path;
  /** The key whose value is being typed, or none while a key is. */
  key: string | undefined;
  /** What stands between the beginning of the word and the cursor. */
  word: string;
  /** Keys beside the one that is typed: none is offered twice. */
  siblings: readonly string[];
}

interface Row {
  indent: number;
  key: string | undefined;
  /** The row begins an entry of a list. */
  entry: boolean;
  value: string;
}

const KEY = /^(?:"([^"]*)"|'([^']*)'|([^\s#:{[\]},&*!|>%@`"'-][^#:]*?|-[^\s#:][^#:]*?))\s*:(?:\s+(.*)|$)/;

/** A line may hold several rows: `- a: b` begins an entry and holds a key, deeper in. */
function rows(line: string): Row[] {
  const found: Row[] = [];
  let rest = line;
  let indent = 0;
  for (;;) {
    const space = /^ */.exec(rest)?.[0].length ?? 0;
    indent += space;
    rest = rest.slice(space);
    const dash = /^-(?:\s+|$)/.exec(rest)?.[0];
    if (dash === undefined) break;
    found.push({ indent, key: undefined, entry: true, value: '' });
    rest = rest.slice(dash.length);
    indent += Math.max(dash.length, 2);
  }
  const key = KEY.exec(rest);
  const name = key?.[1] ?? key?.[2] ?? key?.[3];
  if (rest !== '' && !rest.startsWith('#')) found.push({ indent, key: name, entry: false, value: key ? (key[4] ?? '') : rest });
  return found;
}

/**
 * Where in a record's YAML a place is, by its indentation, so that it is known while the text is still incomplete. What
 * is written in braces and brackets on one line is seen as a value.
 */
export function positionAt(text: string, offset: number): Position {
  const start = text.lastIndexOf('\n', offset - 1) + 1;
  const before = text.slice(start, offset);
  const all = text.slice(0, start).split('\n').slice(0, -1).flatMap(rows);
  const here = rows(before);
  const last = here.at(-1);
  // On an empty line the cursor itself says how deep it is.
  const typed: Row = last !== undefined && !last.entry ? last : { indent: before.length, key: undefined, entry: false, value: '' };
  const above = [...all, ...here.slice(0, last !== undefined && !last.entry ? -1 : undefined)];
  const parents: (string | number)[] = [];
  let depth = typed.indent;
  const inList = here.some((row) => row.entry);
  for (let i = above.length - 1; i >= 0; i--) {
    const row = above[i] as Row;
    // A list may stand as deep as the key that it belongs to.
    const owner = row.key !== undefined && row.value === '' && row.indent === depth && parents[0] === 0;
    if (row.indent >= depth && !owner) continue;
    if (row.entry) parents.unshift(0);
    else if (row.key !== undefined) parents.unshift(row.key);
    else continue;
    depth = row.indent;
    if (depth === 0 && !row.entry) break;
  }
  const value = typed.key !== undefined;
  const word = value ? typed.value : typed.value.trimStart();
  return { parents, key: typed.key, word: /[\w*.-]*$/.exec(word)?.[0] ?? '', siblings: siblings(text, start, typed.indent, inList) };
}

function siblings(text: string, start: number, indent: number, entry: boolean): string[] {
  const lines = text.split('\n');
  const at = text.slice(0, start).split('\n').length - 1;
  const keys: string[] = [];
  const look = (from: number, step: number) => {
    for (let i = from; i >= 0 && i < lines.length; i += step) {
      const found = rows(lines[i] as string);
      const key = found.find((row) => row.key !== undefined && row.indent === indent);
      const begins = found.some((row) => row.entry && row.indent < indent);
      if (begins && step > 0) return;
      if (key?.key !== undefined) keys.push(key.key);
      if (begins || found.some((row) => row.indent < indent)) return;
    }
  };
  if (!entry) look(at - 1, -1);
  look(at + 1, 1);
  return keys;
}
