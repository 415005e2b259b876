import type { components } from '../api/schema';
import { hostActor, nodeActor, operator, sentences, someone, unknownKind } from '../strings/audit';

export type AuditItem = components['schemas']['AuditItem'];
export type AuditEvent = components['schemas']['Event'];
export type EventName = components['schemas']['EventKind'];

/** A piece of a sentence; what is not plain words says which field it came from. */
export interface Piece {
  text: string;
  field?: string;
}

export const isKnown = (name: string): name is EventName => Object.hasOwn(sentences, name);

/** Who did it, as people say it. */
export function actor(user: string | undefined): string {
  if (user === undefined || user === '') return someone;
  if (user === 'local:operator') return operator;
  const [, kind, name] = /^(node|host|agent):(.+)$/.exec(user) ?? [];
  if (kind === undefined || name === undefined) return user;
  return kind === 'node' ? nodeActor(name) : hostActor(name);
}

const BRACKETS = /(\[[^\]]*\])/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

/** The value of a field by its name in a template; empty where the event has none. */
export function field(event: AuditEvent, path: string): string {
  const [head = '', tail = ''] = path.split('.', 2) as [string, string?];
  if (head === 'data') return event.data?.[tail] ?? '';
  const value = event[head as 'user'] ?? '';
  if (head !== 'target' || tail === '') return String(value);
  const [, kind, name] = /^([a-z_]+)\/(.+)$/.exec(value) ?? [];
  if (kind === undefined || name === undefined) return value;
  return tail === 'name' ? name : `${kind.replaceAll('_', ' ')} ${name}`;
}

function fill(template: string, event: AuditEvent, show: (time: string) => string): Piece[] | undefined {
  const pieces: Piece[] = [];
  let missing = false;
  for (const part of template.split(/(\{[a-z_.0-9]+\})/)) {
    if (!part.startsWith('{')) {
      if (part !== '') pieces.push({ text: part });
      continue;
    }
    const path = part.slice(1, -1);
    const value = field(event, path);
    if (value === '') missing = true;
    const text = path === 'user' ? actor(value) : path.startsWith('data.') && TIME.test(value) ? show(value) : value;
    pieces.push({ text, field: path });
  }
  return missing && pieces.some((piece) => piece.field) ? undefined : pieces;
}

/** The sentence of an event, in pieces. `show` writes a time. */
export function sentence(event: AuditEvent, show: (time: string) => string = (time) => time): Piece[] {
  const name: string = event.event;
  if (!isKnown(name)) return [{ text: unknownKind(name) }];
  const all: readonly string[] = [sentences[name]].flat();
  const template = all.find((one) => one.split(BRACKETS).every((part) => part.startsWith('[') || fill(part, event, show) !== undefined)) ?? (all[0] as string);
  const pieces = template.split(BRACKETS).flatMap((part): Piece[] => {
    if (part.startsWith('[')) return fill(part.slice(1, -1), event, show) ?? [];
    return fill(part, event, show) ?? fillAnyway(part, event);
  });
  const first = pieces[0];
  if (first) pieces[0] = { ...first, text: first.field === undefined || first.text === someone || first.text === operator ? capital(first.text) : first.text };
  return pieces;
}

/** Outside of brackets a field that is missing is said to be. */
function fillAnyway(template: string, event: AuditEvent): Piece[] {
  return template
    .split(/(\{[a-z_.0-9]+\})/)
    .filter((part) => part !== '')
    .map((part) => {
      if (!part.startsWith('{')) return { text: part };
      const path = part.slice(1, -1);
      const value = field(event, path);
      return { text: path === 'user' ? actor(value) : value === '' ? '—' : value, field: path };
    });
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

export const sentenceText = (event: AuditEvent): string => sentence(event).map((piece) => piece.text).join('');
