import { positionAt } from './position';
import { fieldAt, knownKinds, recordSchema, type FieldSchema } from './schema';

export interface Offer {
  label: string;
  /** What is put in its place. */
  insert: string;
  about: string;
  required: boolean;
}

export interface Completion {
  /** Where the word begins that an offer replaces. */
  from: number;
  offers: Offer[];
}

/** The kind that a text says it is of. */
export function kindOf(text: string): string {
  return /^kind:\s*["']?([\w]+)/m.exec(text)?.[1] ?? '';
}

const opens = (field: FieldSchema) => field.type === 'group' || field.type === 'map';

function keyOffer(name: string, field: FieldSchema, indent: number): Offer {
  const deeper = `\n${' '.repeat(indent + 2)}`;
  const insert = opens(field) ? `${name}:${deeper}` : field.type === 'list' ? `${name}:${deeper}- ` : `${name}: `;
  return { label: name, insert, about: field.about, required: field.required ?? false };
}

/** What fits at a place of a record's YAML: names of fields, or the words that a field takes. */
export function complete(text: string, offset: number, names: (path: string) => readonly string[] = () => []): Completion {
  const { parents, key, word, siblings } = positionAt(text, offset);
  const root = recordSchema(kindOf(text));
  const from = offset - word.length;
  const line = text.lastIndexOf('\n', offset - 1) + 1;
  const at = fieldAt(root, parents);
  if (key === undefined && at?.type === 'group') {
    const offers = Object.entries(at.fields ?? {})
      .filter(([name]) => !siblings.includes(name))
      .map(([name, field]) => keyOffer(name, field, from - line));
    return { from, offers };
  }
  const path = [...parents, ...(key === undefined ? [] : [key])];
  const field = key === undefined ? at : fieldAt(root, path);
  const single = field?.type === 'list' ? field.of : field;
  const known = path.length === 1 && key === 'kind' ? knownKinds : (single?.values ?? (single?.type === 'flag' ? ['true', 'false'] : names(path.filter((p) => typeof p === 'string').join('.'))));
  const quote = (value: string) => (/^[*&!%@`]/.test(value) ? `'${value}'` : value);
  return { from, offers: known.map((value) => ({ label: value, insert: quote(value), about: '', required: false })) };
}

/** What the field at a place is for. */
export function help(text: string, offset: number): { name: string; field: FieldSchema } | undefined {
  const end = text.indexOf('\n', offset);
  // The whole key counts, wherever in it the place is.
  const start = text.lastIndexOf('\n', offset - 1) + 1;
  const line = text.slice(start, end < 0 ? undefined : end);
  const colon = /^[\s-]*["']?[\w-]+["']?\s*:/.exec(line)?.[0].length;
  const { parents, key } = positionAt(text, colon === undefined ? offset : Math.max(offset, start + colon));
  const path = key === undefined ? parents : [...parents, key];
  const name = path.findLast((step) => typeof step === 'string');
  const field = fieldAt(recordSchema(kindOf(text)), path);
  return field !== undefined && field.about !== '' && typeof name === 'string' ? { name, field } : undefined;
}
