import type { EventName } from './sentence';

/** The names of icons that stand for events. */
export type KindIcon = 'cluster' | 'node' | 'person' | 'key' | 'certificate' | 'record' | 'terminal' | 'play' | 'users' | 'file' | 'arrows' | 'host' | 'refused' | 'signature' | 'mail' | 'end';

/** The icon of each kind. One that the API's document has and that has no line here does not compile. */
export const kinds: Record<EventName, KindIcon> = {
  'cluster.init': 'cluster',
  'node.join': 'node',
  'node.join.refused': 'refused',
  'node.leave': 'node',
  'user.login': 'person',
  'user.login.refused': 'refused',
  'user.lockout': 'refused',
  'user.logout': 'person',
  'user.login.confirm': 'key',
  'user.password': 'key',
  'user.passkey.add': 'key',
  'user.passkey.remove': 'key',
  'user.recovery': 'key',
  'user.totp': 'key',
  'user.invite': 'mail',
  'user.invite.accept': 'key',
  'user.invite.refused': 'refused',
  'user.approval': 'key',
  'user.approval.refused': 'refused',
  'cert.issue': 'certificate',
  'cert.refused': 'refused',
  'cert.host.issue': 'certificate',
  'record.create': 'record',
  'record.update': 'record',
  'record.delete': 'record',
  'record.refused': 'refused',
  'session.start': 'terminal',
  'session.end': 'end',
  'session.interrupted': 'end',
  'session.refused': 'refused',
  'session.play': 'play',
  'session.terminated': 'end',
  'session.join': 'users',
  'session.leave': 'users',
  'recording.search': 'play',
  'recording.share': 'mail',
  'recording.share.open': 'play',
  'recording.share.revoke': 'end',
  'recording.share.refused': 'refused',
  'session.exec': 'terminal',
  'session.file': 'file',
  'session.files': 'file',
  'session.forward': 'arrows',
  'session.channel.refused': 'refused',
  'host.join': 'host',
  'host.join.refused': 'refused',
  'host.renew': 'certificate',
  'agent.refused': 'refused',
  'host.refused': 'refused',
  'api.refused': 'refused',
  'audit.head': 'signature',
};

/** Whether a code says that something was refused or went wrong. */
export const isWarning = (code: string): boolean => code.endsWith('W');

/** The names of kinds by the word they begin with, in the order in which they are written above. */
export function grouped(): [string, EventName[]][] {
  const groups = new Map<string, EventName[]>();
  for (const name of Object.keys(kinds) as EventName[]) {
    const group = `${name.split('.')[0]}.`;
    groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  return [...groups];
}
