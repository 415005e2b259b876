import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { sentences } from '../strings/audit';
import { bounds, canBeLive, everything, forField, linkTo, query, readFilter, writeFilter, type Filter } from './filter';
import { grouped, isWarning, kinds } from './kinds';
import { actor, isKnown, sentence, sentenceText, type AuditEvent, type AuditItem } from './sentence';
import { askFrom, merge } from './tail';

const document = JSON.parse(readFileSync(new URL('../../../openapi.json', import.meta.url), 'utf8')) as {
  components: { schemas: { EventKind: { enum: string[] } } };
};
const event = (name: string, rest: Partial<AuditEvent> = {}): AuditEvent => ({ event: name as AuditEvent['event'], time: '2026-03-01T10:00:00Z', node: 1, ...rest });

describe('every kind of event', () => {
  it('has its sentence and its icon', () => {
    for (const name of document.components.schemas.EventKind.enum) {
      expect(Object.keys(kinds), `${name} has no line in src/audit/kinds.ts`).toContain(name);
      expect(isKnown(name), `${name} has no sentence in src/strings/audit.ts`).toBe(true);
    }
    expect(Object.keys(sentences).sort()).toEqual([...document.components.schemas.EventKind.enum].sort());
  });

  it('has a sentence of its own, that reads without any field', () => {
    const texts = Object.keys(sentences).map((name) => sentenceText(event(name)));
    expect(new Set(texts).size).toBe(texts.length);
    for (const text of texts) {
      expect(text).not.toMatch(/[{}[\]]|undefined/);
      expect(text.charAt(0)).toBe(text.charAt(0).toUpperCase());
    }
  });

  it('is in one group', () => expect(grouped().flatMap(([, names]) => names)).toHaveLength(Object.keys(kinds).length));
});

describe('a sentence', () => {
  it('says what is known', () => {
    expect(sentenceText(event('session.start', { user: 'alice', login: 'root', host: 'web1', data: { kind: 'interactive' } }))).toBe('alice began a session on web1 as root (interactive)');
    expect(sentenceText(event('record.create', { user: 'bob', target: 'cluster_auth_preference/x' }))).toBe('bob created cluster auth preference x');
    expect(sentenceText(event('session.exec', { user: 'a', host: 'h', target: 'ls -l / [x] {y}' }))).toBe('a ran a command on h: ls -l / [x] {y}');
  });
  it('is the one whose fields are there', () => {
    expect(sentenceText(event('cert.issue', { user: 'a', target: 'a' }))).toBe('A certificate was issued to a');
    expect(sentenceText(event('cert.issue', { user: 'a', host: 'web1', login: 'root', data: { purpose: 'dial' } }))).toBe('A certificate to reach web1 as root was issued for a');
  });
  it('names who did it', () => {
    expect([actor('node:3'), actor('local:operator'), actor(''), actor('host:web1'), actor('alice')]).toEqual(['node 3', 'the operator at the node', 'somebody', 'host web1', 'alice']);
    expect(sentenceText(event('user.logout'))).toBe('Somebody logged out');
    expect(sentenceText(event('user.logout', { user: 'alice' }))).toBe('alice logged out');
  });
  it('marks fields and writes times', () => {
    const pieces = sentence(event('user.lockout', { user: 'eve', data: { until: '2026-03-01T10:00:00Z' } }), () => 'ten');
    expect(pieces).toEqual([{ text: 'eve', field: 'user' }, { text: ' has to wait after too many failed logins' }, { text: ', until ' }, { text: 'ten', field: 'data.until' }]);
  });
  it('of an unknown kind says so', () => expect(sentenceText(event('new.kind'))).toContain('new.kind'));
  it('knows warnings by their code', () => expect([isWarning('PS103W'), isWarning('PS100I')]).toEqual([true, false]));
});

describe('the filter', () => {
  const now = new Date('2026-03-10T12:34:56Z');
  it('comes back out of the address', () => {
    const filters: Filter[] = [everything, { ...everything, range: 'custom', from: '2026-03-01T10:00', to: '2026-03-02T00:00', text: 'a b&c', type: 'session.', user: 'alice', host: 'web1' }, { ...everything, range: 'today' }];
    for (const filter of filters) {
      const params = new URLSearchParams(Object.entries(writeFilter(filter)).filter((e): e is [string, string] => e[1] !== undefined));
      expect(readFilter(params)).toEqual(filter);
    }
  });
  it('believes nothing of an address', () => {
    expect(readFilter(new URLSearchParams('range=never&from=x&to=<b>'))).toEqual(everything);
    expect(readFilter(new URLSearchParams('from=2026-03-01')).range).toBe('custom');
  });
  it('asks for whole days', () => {
    const days = (range: Filter['range']) => (now.getTime() - new Date(bounds({ ...everything, range }, now).from).getTime()) / 86_400_000;
    expect(days('today')).toBeLessThan(1);
    expect(days('7d')).toBeGreaterThan(5.9);
    expect(days('7d')).toBeLessThan(7.1);
    expect(bounds({ ...everything, range: 'all' }, now)).toEqual({ from: '', to: '' });
  });
  it('is sent without what is empty', () => {
    expect(query({ ...everything, range: 'all', user: ' alice ', type: 'user.login' }, now)).toEqual({ user: 'alice', event: 'user.login' });
  });
  it('of a link holds the event in every time zone', () => {
    const filter = readFilter(new URLSearchParams(linkTo({ time: '2026-03-01T10:00:12.345Z' }, 7)));
    expect(bounds(filter, now)).toEqual({ from: '2026-03-01T09:59:42.345Z', to: '2026-03-01T10:00:42.345Z' });
    expect(new Date(forField(filter.from)).getTime()).toBe(new Date('2026-03-01T09:59Z').getTime());
    expect(forField('2026-03-01T10:00')).toBe('2026-03-01T10:00');
  });
  it('cannot be live in the past', () => {
    expect(canBeLive({ ...everything, range: 'custom', to: '2026-03-01' }, now)).toBe(false);
    expect(canBeLive(everything, now)).toBe(true);
  });
});

describe('the tail', () => {
  const item = (seq: number, time = '2026-03-01T10:00:00.000Z'): AuditItem => ({ seq, code: 'PL100I', event: event('user.login', { time }) });
  it('asks with an overlap and takes each event once', () => {
    const items = [item(5), item(4)];
    expect(askFrom(items, new Date(0))).toBe('2026-03-01T09:59:00.000Z');
    expect(askFrom([], new Date(0))).toBe('1970-01-01T00:00:00.000Z');
    expect(merge(items, [item(4), item(5), item(6), item(7)]).map((i) => i.seq)).toEqual([7, 6, 5, 4]);
    expect(merge(items, [item(5)])).toBe(items);
  });
});
