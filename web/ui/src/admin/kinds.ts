import type { Schema } from '../api';
import { fieldAt, recordSchema, type Path } from './schema';

export const SECTIONS = ['users', 'roles', 'locks', 'tokens', 'hosts', 'policies'] as const;
export type Section = (typeof SECTIONS)[number];

export const POLICIES = ['cluster_auth_preference', 'session_recording_config', 'cluster_maintenance_config'] as const;
export type Policy = (typeof POLICIES)[number];
export type EditedKind = 'user' | 'role' | 'lock' | 'host' | Policy;
/** Tokens are made by the cluster, which shows their secret once: there is nothing to be edited. */
export type ListedKind = EditedKind | 'token';

const KINDS = { users: 'user', roles: 'role', locks: 'lock', hosts: 'host' } as const;

type AnyRecord = Schema<'AnyRecord'>;
/** A record of a kind, as the API gives it. */
export type Shown<K extends AnyRecord['kind'] = AnyRecord['kind']> = { [P in AnyRecord['kind']]: Extract<AnyRecord, { kind: P }> }[K];

/** Those of a list that are of a kind: all of them, where it is the list of that kind. */
export function ofKind<K extends AnyRecord['kind']>(records: readonly AnyRecord[], kind: K): Shown<K>[] {
  return records.filter((record): record is Shown<K> => record.kind === kind);
}

/** The place of a new record; no name begins like this. */
export const NEW = '~new';

export interface Place {
  section: Section;
  /** The record that is edited: none while the list is shown. */
  kind: EditedKind | undefined;
  name: string | undefined;
}

/** What `/admin/…` shows. */
export function readPlace(path: string): Place | undefined {
  const [first = '', second, ...rest] = path.split('/').filter((part) => part !== '').map((part) => decodeURIComponent(part));
  const section = SECTIONS.find((one) => one === first);
  if (section === undefined || rest.length > 0) return undefined;
  if (second === undefined) return { section, kind: undefined, name: undefined };
  if (section === 'tokens') return undefined;
  if (section !== 'policies') return { section, kind: KINDS[section], name: second };
  const policy = POLICIES.find((one) => one === second);
  return policy && { section, kind: policy, name: singleton(policy) };
}

/** There is one record of a policy; it has this name. */
export const singleton = (policy: Policy): string => policy.replaceAll('_', '-');

export const isPolicy = (kind: string): kind is Policy => (POLICIES as readonly string[]).includes(kind);

export const editPath = (section: Section, name: string): string => `/admin/${section}/${encodeURIComponent(name)}`;

export interface FormGroup {
  title: string;
  fields: Path[];
}

const path = (text: string): Path => text.split('.');
const group = (title: string, ...fields: string[]): FormGroup => ({ title, fields: fields.map(path) });

/** The common case of each kind; the rest is for YAML. */
export function formOf(kind: EditedKind, isNew: boolean): FormGroup[] {
  const identity = [...(isNew && !isPolicy(kind) ? ['metadata.name'] : []), 'metadata.description'];
  switch (kind) {
    case 'user':
      return [group('identity', ...identity), group('access', 'spec.roles', 'spec.traits')];
    case 'role':
      return [
        group('identity', ...identity),
        group('access', 'spec.allow.logins', 'spec.allow.host_labels'),
        group(
          'limits', 'spec.options.max_session_ttl', 'spec.options.client_idle_timeout', 'spec.options.max_sessions', 'spec.options.record_session', 'spec.options.file_copy',
          'spec.options.port_forwarding', 'spec.options.forward_agent', 'spec.options.x11_forwarding', 'spec.options.disconnect_expired_cert', 'spec.options.pin_source_ip',
        ),
        group('deny', 'spec.deny.logins', 'spec.deny.host_labels'),
      ];
    case 'lock':
      return [group('target', 'spec.target.user', 'spec.target.role', 'spec.target.login', 'spec.target.host'), group('policy', 'spec.message', 'metadata.expires')];
    case 'host':
      return [group('identity', ...identity, 'metadata.labels'), group('connection', 'spec.addr', 'spec.public_key', 'spec.site')];
    default:
      // Policies are short: all that there is.
      return [group('policy', ...Object.keys(fieldAt(recordSchema(kind), ['spec'])?.fields ?? {}).map((name) => `spec.${name}`))];
  }
}

/** What a new record begins as: small, right, and to be filled in. */
export function template(kind: EditedKind): string {
  const head = (name: string) => `kind: ${kind}\nversion: v1\nmetadata:\n  name: ${name}\n`;
  switch (kind) {
    case 'user':
      return `${head('""')}spec:\n  roles: []\n`;
    case 'role':
      return `${head('""')}spec:\n  allow:\n    logins: ["{{internal.logins}}"]\n    host_labels:\n      env: [dev]\n`;
    case 'host':
      return `${head('""')}  labels: {}\nspec:\n  addr: ""\n`;
    case 'lock':
      return `${head('""')}spec:\n  target: {}\n`;
    default:
      return `${head(singleton(kind))}spec: {}\n`;
  }
}

/** What a lock is on, in words. */
export function lockTarget(target: Schema<'LockTarget'>): string {
  return Object.entries(target)
    .filter((entry): entry is [string, string] => Boolean(entry[1]))
    .map(([what, name]) => `${what} ${name}`)
    .join(' and ');
}

/** `env=prod, role=db` as labels, or the first piece that is none. */
export function readLabels(text: string): { labels: Record<string, string> } | { bad: string } {
  const labels: Record<string, string> = {};
  for (const piece of text.split(/[\s,]+/).filter((one) => one !== '')) {
    const [, name, value] = /^([^=]+)=(.*)$/.exec(piece) ?? [];
    if (name === undefined || value === undefined) return { bad: piece };
    labels[name] = value;
  }
  return { labels };
}
