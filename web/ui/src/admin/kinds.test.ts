import { describe, expect, it } from 'vitest';
import { fieldLabels, formGroups } from '../strings/admin';
import { identity, parse } from './document';
import { formOf, isPolicy, lockTarget, POLICIES, readLabels, readPlace, template, type EditedKind } from './kinds';
import { fieldAt, recordSchema } from './schema';

const kinds: EditedKind[] = ['user', 'role', 'lock', 'host', ...POLICIES];

describe('forms', () => {
  it('name fields that there are, each with a label', () => {
    for (const kind of kinds) {
      for (const { title, fields } of formOf(kind, true)) {
        expect(formGroups[title]).toBeDefined();
        for (const path of fields) {
          expect(fieldAt(recordSchema(kind), path), `${kind} ${path.join('.')}`).toBeDefined();
          if (!isPolicy(kind)) expect(fieldLabels[path.join('.')], path.join('.')).toBeDefined();
        }
      }
    }
  });
  it('begin with a text of their kind', () => {
    for (const kind of kinds) {
      expect(parse(template(kind)).error).toBeUndefined();
      expect(identity(template(kind)).kind).toBe(kind);
    }
  });
});

describe('places', () => {
  it('are read from the address', () => {
    expect(readPlace('users')).toEqual({ section: 'users', kind: undefined, name: undefined });
    expect(readPlace('roles/a%2Fb')).toEqual({ section: 'roles', kind: 'role', name: 'a/b' });
    expect(readPlace('policies/session_recording_config')).toMatchObject({ kind: 'session_recording_config', name: 'session-recording-config' });
    expect(readPlace('policies/other')).toBeUndefined();
    expect(readPlace('tokens/a')).toBeUndefined();
    expect(readPlace('else')).toBeUndefined();
    expect(readPlace('users/a/b')).toBeUndefined();
  });
});

describe('words', () => {
  it('say what a lock is on', () => expect(lockTarget({ user: 'eve', host: 'web1', role: null })).toBe('user eve and host web1'));
  it('read labels', () => {
    expect(readLabels('env=prod, role=db')).toEqual({ labels: { env: 'prod', role: 'db' } });
    expect(readLabels('env')).toEqual({ bad: 'env' });
    expect(readLabels('')).toEqual({ labels: {} });
  });
});
