// English, in one place.

/**
 * One sentence for every kind of event. `{user}` is a field of the event, `{data.x}` one of its further facts,
 * `{target.name}` what comes after the slash of `role/admin`, `{target.words}` "role admin". A part in brackets is left
 * out when one of its fields is empty. Of several sentences the first is taken whose fields are all there.
 */
export const sentences = {
  'cluster.init': 'The cluster {target} was made',
  'node.join': 'Node {target.name} joined the cluster',
  'node.join.refused': 'Node {target.name} was not let into the cluster[: {message}]',
  'node.leave': 'Node {target.name} left the cluster[, taken out by {user}]',
  'user.login': '{user} logged in[ with {data.method}][ from {addr}]',
  'user.login.refused': 'A login as {user} was refused[ from {addr}][: {message}]',
  'user.lockout': '{user} has to wait after too many failed logins[, until {data.until}]',
  'user.logout': '{user} logged out[ from {addr}]',
  'user.login.confirm': '{user} proved again who they are[ with {data.method}][ from {addr}]',
  'user.password': '{user} set a new password[ from {addr}]',
  'user.passkey.add': '{user} added a passkey[, {data.name}][ from {addr}]',
  'user.passkey.remove': '{user} removed a passkey[, {data.name}][ from {addr}]',
  'user.recovery': '{user} made new recovery codes[ from {addr}]',
  'user.totp': '{user} set up a new authenticator[ from {addr}]',
  'user.invite': '{user} made an invite or a reset for {target.name}[, good until {data.expires}]',
  'user.invite.accept': '{target.name} used an invite and chose a password[, from {addr}]',
  'user.invite.refused': 'An invite was refused[ from {addr}][: {message}]',
  'user.approval': ['{user} let in {data.client}[ at {data.asked_from}], for {host} as {login}', '{user} let in {data.client}[ at {data.asked_from}]', '{user} let a program in'],
  'user.approval.refused': ['{user} turned away {data.client}[ at {data.asked_from}]', '{user} turned a program away'],
  'cert.issue': ['A certificate was issued to {target}[, good until {data.valid_before}]', 'A certificate to reach {host}[ as {login}] was issued for {user}', 'A certificate was issued'],
  'cert.refused': 'A certificate for {target} was refused[: {message}]',
  'cert.host.issue': 'A host certificate was issued[ for {data.principals}][ by {user}]',
  'record.create': '{user} created {target.words}',
  'record.update': '{user} changed {target.words}',
  'record.delete': '{user} removed {target.words}',
  'record.refused': 'A change of {target.words} by {user} was refused[: {message}]',
  'session.start': '{user} began a session on {host}[ as {login}][ ({data.kind})][ from {addr}]',
  'session.end': 'The session of {user} on {host} ended[ with status {data.exit_status}][: {message}]',
  'session.interrupted': 'The session of {user} on {host} was cut off[: {message}]',
  'session.refused': '{user} was refused access[ to {host}][ as {login}][: {message}]',
  'session.play': '{user} played the recording of[ {data.of}’s] session[ on {host}]',
  'session.terminated': 'The session of {user} on {host} was ended[: {message}]',
  'session.join': '{user} joined[ {data.owner}’s] session[ on {host}][ as {data.mode}]',
  'session.leave': '{user} left[ {data.owner}’s] session[ on {host}][: {message}]',
  'session.exec': '{user} ran a command on {host}[ as {login}][: {target}]',
  'session.file': '{user} transferred a file on {host}[, {data.action}][: {target}][, {data.outcome}]',
  'session.files': 'Files of {user}’s session on {host}[: {data.files_read} read][, {data.files_written} written][, {data.changes} other changes][, {data.failed} failed]',
  'session.forward': '{user} forwarded a connection[ on {host}][ by {data.kind}][ to {target}]',
  'session.channel.refused': 'A request inside {user}’s session was refused[ on {host}][, {data.wanted}][: {message}]',
  'host.join': 'Host {host} was added by its agent',
  'host.join.refused': 'The agent of a host was not let in[: {host}][: {message}]',
  'host.renew': 'The agent of {host} renewed its certificates[, good until {data.valid_before}]',
  'agent.refused': 'The agent of {host} was refused {target}[: {message}]',
  'host.refused': 'The connection of {user} to {host} failed[: {message}]',
  'api.refused': '{user} was refused[ {target}][ from {addr}][: {message}]',
  'audit.head': 'The audit log was signed[ up to event {data.size}]',
} as const satisfies Record<string, string | readonly string[]>;

export const someone = 'somebody';
export const operator = 'the operator at the node';
export const nodeActor = (id: string) => `node ${id}`;
export const hostActor = (name: string) => `host ${name}`;
export const unknownKind = (name: string) => `An event of the kind ${name}, which this page does not know`;

export const audit = {
  title: 'Audit log',
  lead: 'Everything that was done or refused, in the order the cluster agreed on.',
  range: 'Time',
  ranges: { today: 'Today', '7d': 'Last 7 days', '30d': 'Last 30 days', custom: 'From … to …', all: 'All time' },
  from: 'From',
  to: 'To',
  text: 'Text',
  textHint: 'Anything in an event: a command, a path, an address, a session',
  type: 'Event',
  anyType: 'Any event',
  allOf: (name: string) => `All ${name}`,
  groups: {
    'cluster.': 'cluster', 'node.': 'nodes', 'user.': 'people', 'cert.': 'certificates', 'record.': 'records',
    'session.': 'sessions', 'host.': 'hosts', 'agent.': 'agents', 'api.': 'the API', 'audit.': 'the audit log',
  } as Record<string, string>,
  user: 'User',
  host: 'Host',
  clear: 'Clear the filter',
  live: 'Live',
  liveOn: 'New events appear at the top',
  exported: 'Export',
  jsonl: 'As JSON lines',
  csv: 'As CSV',
  whole: 'The whole log, for offline verification',
  wholeHint: 'palctl audit verify FILE',
  empty: 'No event fits this filter',
  emptyHelp: 'Take a longer time, or clear a part of the filter.',
  refresh: 'Load again',
  older: 'Older events',
  time: 'Time',
  what: 'What happened',
  code: 'Code',
  details: (seq: number) => `Details of event ${seq}`,
  link: 'Copy a link to this event',
  copyJson: 'Copy as JSON',
  linkCopied: 'The link is on the clipboard',
  thisSession: 'this session',
  session: 'Play the recording',
  only: (what: string) => `Only ${what}`,
  seq: (n: number) => `Event ${n}`,
  paused: 'Live is off while an earlier time is shown',
  found: (n: number, more: boolean) => (more ? `${n} events so far` : n === 1 ? '1 event' : `${n} events`),
  notInRange: 'The linked event is not among those that are shown.',
};

export const chain = {
  ok: 'The chain verifies',
  bad: 'The chain does not verify',
  unknown: 'Chain not checked yet',
  since: (signed: string) => `${signed} events are covered by the newest signature:`,
  unsigned: 'No head was signed yet.',
  rest: (n: string) => `${n} newer events wait for the next signature.`,
  checked: 'Checked by this node:',
  help: 'For a proof that does not rest on this node: palctl audit verify.',
};

export const detailNames = {
  time: 'Time', event: 'Event', user: 'Who', addr: 'From', login: 'Login', host: 'Host', target: 'About', message: 'Message', session: 'Session', node: 'Proposed by node',
};
