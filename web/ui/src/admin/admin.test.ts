import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { recordSchemas } from '../../build/schemas';
import { complete, help, kindOf } from './complete';
import { around, diff } from './diff';
import { edited, identity, parse, valueAt } from './document';
import { placeOf, proposed } from './lint';
import { positionAt } from './position';
import { fieldAt, recordSchema } from './schema';

const role = `# who may restart things
kind: role
version: v1
metadata:
  name: ops # short
spec:
  options:
    max_session_ttl: 8h
  allow:
    logins:
      # the account of the service
      - deploy
      - root
    host_labels: { env: [prod] }
    rules:
      - resources: [user]
        verbs:
        - read
`;
/** A text with the cursor in it, as `|`. */
const at = (marked: string): [string, number] => [marked.replace('|', ''), marked.indexOf('|')];
const labels = (marked: string, names?: (path: string) => string[]) => complete(...at(marked), names).offers.map((offer) => offer.label);

describe('schemas of records', () => {
  const all = recordSchemas(JSON.parse(readFileSync(new URL('../../../openapi.json', import.meta.url), 'utf8')));
  it('know every kind that people write, with sentences', () => {
    for (const [kind, fields] of Object.entries(all)) {
      expect(Object.keys(fields.spec?.fields ?? {}), kind).not.toHaveLength(0);
      const look = (field: { about: string; fields?: Record<string, never> }, path: string) => {
        for (const [name, inner] of Object.entries(field.fields ?? {}) as [string, { about: string }][]) {
          expect(inner.about, `${path}.${name}`).not.toBe('');
          look(inner, `${path}.${name}`);
        }
      };
      look(fields.spec as never, kind);
    }
  });
  it('lead down paths', () => {
    expect(fieldAt(recordSchema('role'), ['spec', 'allow', 'rules', 0, 'verbs', 0])?.values).toContain('read');
    expect(fieldAt(recordSchema('role'), ['spec', 'allow', 'host_labels', 'env'])?.type).toBe('list');
    expect(fieldAt(recordSchema('role'), ['spec', 'nothing'])).toBeUndefined();
    expect(fieldAt(recordSchema('role'), ['spec', 'options', 'record_session'])?.values).toEqual(['best_effort', 'strict']);
  });
});

describe('a place in the text', () => {
  const parents = (marked: string) => positionAt(...at(marked)).parents;
  it('is found by indentation', () => {
    expect(parents('kind: role\nspec:\n  allow:\n    lo|')).toEqual(['spec', 'allow']);
    expect(parents('spec:\n  allow:\n    logins: [a]\n  |')).toEqual(['spec']);
    expect(parents('spec:\n  allow: {}\n|')).toEqual([]);
    expect(parents('spec:\n  allow:\n    rules:\n      - verbs: [read]\n        |')).toEqual(['spec', 'allow', 'rules', 0]);
    expect(parents('spec:\n  allow:\n    rules:\n    - verbs:\n      - r|')).toEqual(['spec', 'allow', 'rules', 0, 'verbs', 0]);
  });
  it('knows the key whose value is typed', () => {
    expect(positionAt(...at('spec:\n  options:\n    record_session: st|'))).toMatchObject({ key: 'record_session', word: 'st', parents: ['spec', 'options'] });
  });
});

describe('completion', () => {
  it('offers fields that are not there yet', () => {
    expect(labels('kind: role\nspec:\n  allow:\n    logins: [a]\n    |\n    rules: []\n')).toEqual(['host_labels', 'join_sessions', 'require_session_join']);
    expect(labels('|')).toContain('metadata');
  });
  it('offers the words that a field takes', () => {
    expect(labels('kind: |')).toContain('cluster_auth_preference');
    expect(labels('kind: role\nspec:\n  options:\n    record_session: |')).toEqual(['best_effort', 'strict']);
    expect(labels('kind: role\nspec:\n  options:\n    file_copy: |')).toEqual(['true', 'false']);
    expect(labels('kind: role\nspec:\n  allow:\n    rules:\n      - verbs:\n          - |')).toContain('delete');
  });
  it('offers names that are known elsewhere', () => {
    const names = (path: string) => (path === 'spec.roles' ? ['access', 'auditor'] : []);
    expect(labels('kind: user\nspec:\n  roles:\n    - a|', names)).toEqual(['access', 'auditor']);
  });
  it('puts in what the field needs', () => {
    const offers = complete(...at('kind: role\nspec:\n  allow:\n    |')).offers;
    expect(offers.find((o) => o.label === 'logins')?.insert).toBe('logins:\n      - ');
  });
  it('quotes what YAML would read otherwise', () => {
    expect(complete(...at('kind: role\nspec:\n  allow:\n    rules:\n      - verbs:\n          - |')).offers.find((o) => o.label === '*')?.insert).toBe("'*'");
  });
  it('explains the field under the cursor', () => {
    expect(help(...at('kind: role\nspec:\n  allow:\n    lo|gins: [a]'))?.name).toBe('logins');
    expect(help(...at('kind: lock\nspec:\n  mess|age: x'))?.field.about).toContain('locked out');
    expect(kindOf(role)).toBe('role');
  });
});

describe('a form and its text', () => {
  it('change one thing and keep the rest, comments too', () => {
    const text = edited(role, ['spec', 'allow', 'logins'], ['deploy', 'backup']);
    expect(text).toContain('# the account of the service');
    expect(text).toContain('# who may restart things');
    expect(text).toContain('name: ops # short');
    expect(text).not.toContain('root');
    expect(valueAt(parse(text).doc, ['spec', 'allow', 'logins'])).toEqual(['deploy', 'backup']);
    expect(text.replace('      - backup\n', '      - root\n')).toBe(role.replace('{ env: [prod] }', '{ env: [ prod ] }').replace('[user]', '[ user ]').replace('        verbs:\n        - read', '        verbs:\n          - read'));
  });
  it('set what was not there, and take away what is empty', () => {
    const set = edited('kind: role\nmetadata: {name: x}\nspec:\n', ['spec', 'options', 'max_sessions'], 3);
    expect(valueAt(parse(set).doc, ['spec', 'options', 'max_sessions'])).toBe(3);
    expect(valueAt(parse(edited(set, ['spec', 'options', 'max_sessions'], '')).doc, ['spec', 'options'])).toBeUndefined();
    expect(edited(role, ['spec', 'deny', 'logins'], [])).toBe(role);
  });
  it('change maps entry by entry', () => {
    const text = edited('spec:\n  traits:\n    # as at work\n    logins: [a]\n    team: [x]\n', ['spec', 'traits'], { logins: ['a', 'b'] });
    expect(text).toContain('# as at work');
    expect(valueAt(parse(text).doc, ['spec', 'traits'])).toEqual({ logins: ['a', 'b'] });
  });
  it('leave a broken text alone', () => {
    const broken = 'spec: [a\n';
    expect(parse(broken).error).toBeDefined();
    expect(edited(broken, ['spec'], 'x')).toBe(broken);
    expect(identity(broken)).toEqual({ kind: '', name: '', revision: undefined });
  });
  it('know who they are', () => expect(identity('kind: role\nmetadata: {name: a, revision: 7}\n')).toEqual({ kind: 'role', name: 'a', revision: 7 }));
  it('write numbers and flags as such', () => {
    expect(edited('spec: {file_copy: true}\n', ['spec', 'file_copy'], false)).toBe('spec: { file_copy: false }\n');
    expect(edited('spec: {max: "3"}\n', ['spec', 'max'], 4)).toContain('4');
  });
});

describe('faults', () => {
  it('are where they are', () => {
    const text = 'kind: role\nspec:\n  allow:\n    login: [a]\n';
    const { from, to } = placeOf(text, { line: 4, column: 5 });
    expect(text.slice(from, to)).toBe('login');
    expect(placeOf(text, { line: 99, column: 99 }).from).toBeLessThanOrEqual(text.length);
    const wide = '🙂🙂 x: y';
    expect(wide.slice(placeOf(wide, { line: 1, column: 4 }).from)).toBe('x: y');
  });
  it('propose a name', () => {
    expect(proposed('did you mean `logins`?')).toBe('logins');
    expect(proposed('logins')).toBe('logins');
    expect(proposed('write it like this')).toBeUndefined();
  });
});

describe('differences', () => {
  it('are lines that came and went', () => {
    expect(diff('a\nb\nc\n', 'a\nx\nc\n')).toEqual([
      { kind: 'same', text: 'a' },
      { kind: 'removed', text: 'b' },
      { kind: 'added', text: 'x' },
      { kind: 'same', text: 'c' },
    ]);
    expect(diff('a', 'a').every((line) => line.kind === 'same')).toBe(true);
  });
  it('are shown with what is around', () => {
    const lines = diff('1\n2\n3\n4\n5\n6\n7\n', '1\n2\n3\n4\n5\n6\nx\n');
    expect(around(lines, 1)).toEqual([undefined, { kind: 'same', text: '6' }, { kind: 'removed', text: '7' }, { kind: 'added', text: 'x' }]);
  });
});
