import { isCollection, isMap, isScalar, isSeq, parseDocument, type Document, type Node } from 'yaml';
import type { Path } from './schema';

/** What a form reads and writes: the text is the one truth, and what a form does not touch in it stays as it is. */
export interface Parsed {
  doc: Document;
  /** The first thing that is wrong with it as YAML; a form cannot be used until it is right. */
  error: string | undefined;
}

export function parse(text: string): Parsed {
  const doc = parseDocument(text, { keepSourceTokens: false });
  const first = doc.errors[0];
  const whole = first === undefined && doc.contents !== null && !isMap(doc.contents) ? 'not a record' : undefined;
  return { doc, error: first?.message.split('\n')[0] ?? whole };
}

const write = (doc: Document): string => doc.toString({ lineWidth: 0, flowCollectionPadding: true });

export function valueAt(doc: Document, path: Path): unknown {
  const node = doc.getIn(path, true) as Node | undefined;
  return node === undefined || node === null ? undefined : isCollection(node) || isScalar(node) ? (node.toJS(doc) as unknown) : node;
}

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === '' ||
  (Array.isArray(value) && value.length === 0) ||
  (typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0);

/** Makes a list say this with as few changes as possible, so that what is written beside its entries stays. */
function setList(doc: Document, path: Path, wanted: readonly unknown[]): boolean {
  const node = doc.getIn(path, true) as Node | undefined;
  if (!isSeq(node)) return false;
  const old = node.items as Node[];
  const shown = (item: unknown) => JSON.stringify(isScalar(item) || isCollection(item) ? item.toJS(doc) : item);
  const left = [...old];
  node.items = wanted.map((value) => {
    const i = left.findIndex((item) => shown(item) === JSON.stringify(value));
    return i < 0 ? doc.createNode(value) : (left.splice(i, 1)[0] as Node);
  });
  return true;
}

function setMap(doc: Document, path: Path, wanted: Record<string, unknown>): boolean {
  const node = doc.getIn(path, true) as Node | undefined;
  if (!isMap(node)) return false;
  for (const pair of [...node.items]) {
    const key = String(isScalar(pair.key) ? pair.key.value : pair.key);
    if (!Object.hasOwn(wanted, key)) node.delete(isScalar(pair.key) ? pair.key.value : pair.key);
  }
  for (const [key, value] of Object.entries(wanted)) set(doc, [...path, key], value);
  return true;
}

function set(doc: Document, path: Path, value: unknown): void {
  const old = doc.getIn(path, true) as Node | undefined;
  if (JSON.stringify(valueAt(doc, path)) === JSON.stringify(value)) return;
  if (Array.isArray(value) && setList(doc, path, value)) return;
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && setMap(doc, path, value as Record<string, unknown>)) return;
  if (isScalar(old) && (typeof value !== 'object' || value === null)) {
    old.value = value;
    delete old.source;
    return;
  }
  clearWay(doc, path);
  doc.setIn(path, doc.createNode(value));
}

/** `spec:` with nothing below is null, which nothing can be put into. */
function clearWay(doc: Document, path: Path): void {
  for (let n = 1; n < path.length; n++) {
    const node = doc.getIn(path.slice(0, n), true) as Node | undefined;
    if (isScalar(node) && node.value === null) doc.deleteIn(path.slice(0, n));
  }
}

/** The text with one field changed; without the field if the value is empty, and without groups that are left empty. */
export function edited(text: string, path: Path, value: unknown): string {
  const { doc, error } = parse(text);
  if (error !== undefined) return text;
  if (!isEmpty(value)) {
    set(doc, path, value);
    return write(doc);
  }
  if (!doc.hasIn(path)) return text;
  doc.deleteIn(path);
  for (let n = path.length - 1; n > 1; n--) {
    const above = doc.getIn(path.slice(0, n), true);
    if (!isCollection(above) || above.items.length > 0 || above.comment) break;
    doc.deleteIn(path.slice(0, n));
  }
  return write(doc);
}

/** The name and revision that a text says. */
export function identity(text: string): { kind: string; name: string; revision: number | undefined } {
  const { doc, error } = parse(text);
  if (error !== undefined || doc.contents === null) return { kind: '', name: '', revision: undefined };
  const revision = valueAt(doc, ['metadata', 'revision']);
  return {
    kind: String(valueAt(doc, ['kind']) ?? ''),
    name: String(valueAt(doc, ['metadata', 'name']) ?? ''),
    revision: typeof revision === 'number' ? revision : undefined,
  };
}
