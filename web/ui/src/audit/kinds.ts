import type { EventName } from './sentence';

/** The names of icons that stand for events. */
export type KindIcon = 'cluster' | 'node' | 'person' | 'key' | 'certificate' | 'record' | 'terminal' | 'play' | 'users' | 'file' | 'arrows' | 'host' | 'refused' | 'signature' | 'mail' | 'end';

/** What the type is called in `core`, and its icon. A new kind without a line here fails a test. */
export const kinds: Record<EventName, { rust: string; icon: KindIcon }> = {
  'cluster.init': { rust: 'ClusterInit', icon: 'cluster' },
  'node.join': { rust: 'NodeJoin', icon: 'node' },
  'node.join.refused': { rust: 'NodeJoinRefused', icon: 'refused' },
  'node.leave': { rust: 'NodeLeave', icon: 'node' },
  'user.login': { rust: 'Login', icon: 'person' },
  'user.login.refused': { rust: 'LoginRefused', icon: 'refused' },
  'user.lockout': { rust: 'LoginLockout', icon: 'refused' },
  'user.logout': { rust: 'Logout', icon: 'person' },
  'user.login.confirm': { rust: 'LoginConfirm', icon: 'key' },
  'user.password': { rust: 'PasswordChange', icon: 'key' },
  'user.passkey.add': { rust: 'PasskeyAdd', icon: 'key' },
  'user.passkey.remove': { rust: 'PasskeyRemove', icon: 'key' },
  'user.recovery': { rust: 'RecoveryNew', icon: 'key' },
  'user.totp': { rust: 'TotpChange', icon: 'key' },
  'user.invite': { rust: 'InviteCreate', icon: 'mail' },
  'user.invite.accept': { rust: 'InviteAccept', icon: 'key' },
  'user.invite.refused': { rust: 'InviteRefused', icon: 'refused' },
  'user.approval': { rust: 'ApprovalGrant', icon: 'key' },
  'user.approval.refused': { rust: 'ApprovalRefuse', icon: 'refused' },
  'cert.issue': { rust: 'CertIssue', icon: 'certificate' },
  'cert.refused': { rust: 'CertRefused', icon: 'refused' },
  'cert.host.issue': { rust: 'HostCertIssue', icon: 'certificate' },
  'record.create': { rust: 'RecordCreate', icon: 'record' },
  'record.update': { rust: 'RecordUpdate', icon: 'record' },
  'record.delete': { rust: 'RecordDelete', icon: 'record' },
  'record.refused': { rust: 'RecordRefused', icon: 'refused' },
  'session.start': { rust: 'SessionStart', icon: 'terminal' },
  'session.end': { rust: 'SessionEnd', icon: 'end' },
  'session.interrupted': { rust: 'SessionInterrupted', icon: 'end' },
  'session.refused': { rust: 'SessionRefused', icon: 'refused' },
  'session.play': { rust: 'SessionPlay', icon: 'play' },
  'session.terminated': { rust: 'SessionTerminated', icon: 'end' },
  'session.join': { rust: 'SessionJoin', icon: 'users' },
  'session.leave': { rust: 'SessionLeave', icon: 'users' },
  'session.exec': { rust: 'Exec', icon: 'terminal' },
  'session.file': { rust: 'FileTransfer', icon: 'file' },
  'session.files': { rust: 'FileSummary', icon: 'file' },
  'session.forward': { rust: 'Forward', icon: 'arrows' },
  'session.channel.refused': { rust: 'ChannelRefused', icon: 'refused' },
  'host.join': { rust: 'HostJoin', icon: 'host' },
  'host.join.refused': { rust: 'HostJoinRefused', icon: 'refused' },
  'host.renew': { rust: 'HostRenew', icon: 'certificate' },
  'agent.refused': { rust: 'AgentRefused', icon: 'refused' },
  'host.refused': { rust: 'HostRefused', icon: 'refused' },
  'api.refused': { rust: 'ApiRefused', icon: 'refused' },
  'audit.head': { rust: 'AuditHead', icon: 'signature' },
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
