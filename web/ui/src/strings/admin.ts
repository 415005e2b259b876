// English, in one place.

export const admin = {
  title: 'Administration',
  sections: {
    users: { title: 'Users', about: 'People and robots that log in. What they may do, their roles say.', one: 'user' },
    roles: { title: 'Roles', about: 'What holders may reach and do. Nothing is allowed that no role allows, and “deny” wins over every “allow”.', one: 'role' },
    locks: { title: 'Locks', about: 'A lock overrules every role, and ends what is open within a second.', one: 'lock' },
    tokens: { title: 'Join tokens', about: 'A token lets one machine in, once: a node into the cluster, or the agent of a host.', one: 'token' },
    hosts: { title: 'Host records', about: 'Machines that people log in to. Their labels decide which roles reach them.', one: 'host' },
    policies: { title: 'Policies', about: 'Rules that hold for the whole cluster.', one: 'policy' },
  },
  name: 'Name',
  description: 'Description',
  actions: 'Actions',
  edit: 'Edit',
  editLabel: (name: string) => `Edit ${name}`,
  remove: 'Remove',
  search: 'Search by name or any part',
  more: (name: string) => `More about ${name}`,
  none: '–',
  never: 'never',
  loadedOnly: 'Only the entries that are loaded were searched. Load more for the rest.',
  nothingFits: 'Nothing here fits',

  users: {
    add: 'Add user', roles: 'Roles', traits: 'Traits', state: 'State', locked: 'Locked', noRoles: 'no roles',
    invite: 'Invite or reset link', lock: 'Lock',
    empty: 'There are no users yet', emptyHelp: 'Add one, and give them the link that lets them choose a password.',
    traitOf: (name: string, values: string) => `${name}: ${values}`,
  },
  roles: { add: 'Add role', logins: 'Logins', labels: 'Hosts', empty: 'There are no roles yet', emptyHelp: 'Without a role nobody reaches anything.', anyHost: 'every host', noHost: 'no host', requires: 'needs others to join' },
  locks: {
    add: 'Lock …', target: 'Locked', until: 'Until', why: 'Why', empty: 'Nothing is locked', emptyHelp: 'A lock on a user, role, login or host ends what is open and refuses what is new.',
    forever: 'until it is removed', over: 'over', unlock: 'Unlock', unlockTitle: 'Remove this lock?', unlockText: (what: string) => `${what} is allowed again what roles allow.`, done: 'The lock was removed',
    title: 'Lock', kind: 'What', kinds: { user: 'User', role: 'Role', login: 'Login', host: 'Host' }, kindHints: { user: 'This person, wherever they are', role: 'Everybody who holds it', login: 'This account on every host', host: 'Nobody gets to this machine' },
    name: 'Name', ttl: 'For how long', ttls: { '3600': '1 hour', '28800': '8 hours', '86400': '1 day', '604800': '7 days', '': 'Until it is removed' } as Record<string, string>,
    message: 'Why', messageHint: 'Who is locked out reads this.', verb: 'Lock', warn: 'Open sessions that this concerns end at once.', self: 'This is you: you would lock yourself out.',
    locked: (what: string) => `Locked: ${what}`, noName: 'Say what is to be locked.',
  },
  tokens: {
    add: 'Create token', target: 'For', expires: 'Good until', labels: 'Labels', empty: 'There are no tokens waiting to be used', emptyHelp: 'Create one to add a node to the cluster, or a host with an agent.',
    node: 'a node', host: (name: string) => `host ${name}`, anyHost: 'any host', revoke: 'Revoke', revokeTitle: 'Revoke this token?', revokeText: 'The machine that was to use it is not let in any more.', revoked: 'The token was revoked',
    title: 'Create a join token', kind: 'What it lets in', kinds: { host: 'A host with an agent', node: 'A node of the cluster' }, nodeWarn: 'A node holds the cluster’s data and signs certificates. Create this token only for a machine that is yours alone.',
    hostName: 'Name of the host', hostHint: 'With a name, the agent may also take the place of the one that serves the host now. Without one, it brings a name of its own.', hostLabels: 'Labels', hostLabelsHint: 'env=prod, role=db. They decide which roles reach the host.',
    badLabel: (text: string) => `“${text}” is not a label: write name=value.`, ttl: 'Good for', ttls: { '900': '15 minutes', '1800': '30 minutes', '3600': '1 hour', '86400': '1 day' } as Record<string, string>, verb: 'Create',
    once: 'Shown once', onceHelp: 'Whoever has it gets in. It is not kept, and not shown again.', token: 'Token', hostRun: 'On the host, as root', nodeRun: 'On the new node', waits: 'The first line waits for the token on its input.', until: (when: string) => `Good until ${when}, once.`, done: 'Done',
  },
  hosts: { add: 'Add OpenSSH server', addAgent: 'Add host with an agent', addr: 'Address', labels: 'Labels', agent: 'served by its agent', joined: 'joined', empty: 'There are no hosts yet', emptyHelp: 'Create a join token for a host with an agent, or add the address of an OpenSSH server.' },
  policies: {
    cluster_auth_preference: { title: 'Logging in', about: 'Second factor, lock-out after failures, how long certificates live.' },
    session_recording_config: { title: 'Recording', about: 'When output reaches the user, where sessions are recorded, how much of a command is kept.' },
    cluster_maintenance_config: { title: 'Upkeep', about: 'What the cluster does for itself: nodes that are gone for good.' },
    unset: 'As by default', edit: 'Change',
  } as const,

  invite: {
    title: (user: string) => `Link for ${user}`, about: 'The link lets whoever has it choose a password and a second factor. Used by somebody who has them already, it resets both.', ttl: 'Good for',
    ttls: { '3600': '1 hour', '28800': '8 hours', '86400': '1 day', '259200': '3 days' } as Record<string, string>, verb: 'Create link', once: 'Shown once', onceHelp: 'Pass it on by a way that you trust. It works once, and is not kept here.',
    link: 'Link', cli: 'On the command line', until: (when: string) => `Good until ${when}.`, done: 'Done', offered: 'The user was created. Give them a link next.',
  },
  removal: {
    title: (one: string, name: string) => `Remove ${one} ${name}?`, verb: 'Remove', word: (name: string) => `Type ${name} to confirm`, done: (name: string) => `${name} was removed`,
    what: {
      user: 'Their sessions end and their certificates are void. What they did stays in the audit log.', role: 'Who holds it loses what it allows, and what it denies is denied no more.', host: 'Nobody reaches it any more, and its agent is turned away. Its recordings stay.', other: 'It is gone for everybody.',
      policy: 'The defaults hold again.',
    } as Record<string, string>,
  },

  editor: {
    new: (one: string) => `New ${one}`, form: 'Form', yaml: 'YAML', view: 'How to edit', save: 'Save', create: 'Create', review: 'Review and save', discard: 'Discard changes', saved: (name: string) => `${name} was saved`, created: (name: string) => `${name} was created`,
    unchanged: 'Nothing was changed.', faulty: 'The text has faults: see below it.', broken: 'The YAML cannot be read. The form is back once it can.', yamlLabel: (name: string) => `YAML of ${name}`,
    yamlHelp: 'Ctrl Space completes, Ctrl Z undoes', noFaults: 'No faults', faults: (n: number) => (n === 1 ? '1 fault' : `${n} faults`), fault: (line: number, column: number) => `Line ${line}, column ${column}`, use: (name: string) => `Use ${name}`, nearest: (name: string) => `The nearest right name is ${name}.`, checking: 'Checking',
    unchecked: 'The text could not be checked.', missing: 'This record does not exist', default: 'There is no such record yet: what you see is the default. Saving makes it.', helpNone: 'Put the cursor on a field to read what it is for.', required: 'required', oneOf: (values: string) => `One of: ${values}`, type: { text: 'text', number: 'number', flag: 'true or false', choice: 'word', list: 'list', map: 'names and values', group: 'group' } as Record<string, string>,
    mayNot: 'You may look, but not change.', agentOwned: 'The agent part is written by the cluster.',
  },
  conflict: {
    title: 'Somebody else saved it in the meantime', text: (theirs: number | undefined, mine: number | undefined) => `You began with revision ${mine ?? '–'}; now there is revision ${theirs ?? '–'}. Nothing of yours was saved, and nothing is lost yet.`,
    theirs: 'What they changed', mine: 'What you changed', same: 'They changed nothing that is shown here.', take: 'Take theirs, drop mine', rebase: 'Keep mine over theirs', rebaseHelp: 'Your text replaces theirs when you save again. Look first at what they changed.', gone: 'It was removed in the meantime. Saving again makes it anew.', again: 'Keep mine',
  },
  explain: {
    title: 'Who reaches what', about: 'With this role as it is written above, among the hosts that there are now.', waiting: 'Working it out', users: 'Holders', nobody: 'Nobody holds this role.', reach: 'What they reach, by this and their other roles', gained: 'Gained by saving', lost: 'Lost by saving', none: 'Saving changes nobody’s reach.', nothing: 'Nobody reaches any host by it.',
    pairs: (n: number) => (n === 1 ? '1 pair of user and host was looked at.' : `${n} pairs of user and host were looked at.`), cut: 'Only the first 500 are shown.', user: 'User', host: 'Host', logins: 'Logins', failed: 'It cannot be worked out yet', faulty: 'It is worked out once the text has no faults.',
    reviewTitle: (name: string) => `Save role ${name}?`, changes: 'What changes in the text', effects: 'What changes for people', count: (n: number, word: string) => `${n} ${word}`, gainedWord: 'gained', lostWord: 'lost', showAll: (n: number) => `Show all ${n}`,
  },
  field: {
    add: 'Add', addTo: (label: string) => `Add to ${label}`, removeFrom: (what: string, label: string) => `Remove ${what} from ${label}`, default: 'default', defaultIs: (value: string) => `default (${value})`, yes: 'yes', no: 'no', key: 'Name', values: 'Values', addKey: 'Add a name', removeKey: (name: string) => `Remove ${name}`, value: 'Value', inYaml: 'More is possible in YAML', moreYaml: (list: string) => `In YAML also: ${list}.`,
  },
};

/** What fields are called in forms, by their place in the record. */
export const fieldLabels: Record<string, string> = {
  'metadata.name': 'Name',
  'metadata.description': 'Description',
  'metadata.labels': 'Labels',
  'metadata.expires': 'Expires',
  'spec.roles': 'Roles',
  'spec.traits': 'Traits',
  'spec.allow.logins': 'Logins',
  'spec.allow.host_labels': 'Hosts, by label',
  'spec.deny.logins': 'Logins that are denied',
  'spec.deny.host_labels': 'Hosts that are denied',
  'spec.options.max_session_ttl': 'Longest certificate',
  'spec.options.client_idle_timeout': 'End when idle for',
  'spec.options.max_sessions': 'Sessions at a time',
  'spec.options.record_session': 'Recording',
  'spec.options.port_forwarding': 'Port forwarding',
  'spec.options.forward_agent': 'Agent forwarding',
  'spec.options.x11_forwarding': 'X11 forwarding',
  'spec.options.file_copy': 'Copying files',
  'spec.options.disconnect_expired_cert': 'End with the certificate',
  'spec.options.pin_source_ip': 'Pin the address',
  'spec.target.user': 'User',
  'spec.target.role': 'Role',
  'spec.target.login': 'Login',
  'spec.target.host': 'Host',
  'spec.message': 'Message',
  'spec.addr': 'Address',
  'spec.public_key': 'Public key',
  'spec.site': 'Recorded at',
  'spec.second_factor': 'Second factor',
  'spec.max_failures': 'Failures before waiting',
  'spec.lockout_window': 'Waiting time',
  'spec.default_session_ttl': 'Life of a certificate',
  'spec.passkeys': 'Passkeys',
  'spec.passwordless': 'Passkeys without a password',
  'spec.rp_id': 'Domain of passkeys',
  'spec.mode': 'Mode',
  'spec.exec_capture_bytes': 'Bytes kept of a command',
  'spec.redact': 'Masked in copies',
  'spec.dead_node_after': 'Take out silent nodes after',
};

export const fieldExamples: Record<string, string> = {
  'spec.options.max_session_ttl': '8h',
  'spec.options.client_idle_timeout': '30m',
  'spec.lockout_window': '5m',
  'spec.default_session_ttl': '12h',
  'spec.dead_node_after': '24h',
  'spec.addr': '10.0.0.7:22',
  'spec.public_key': 'ssh-ed25519 AAAA…',
  'metadata.expires': '2026-12-31T18:00:00Z',
};

export const formGroups: Record<string, string> = {
  identity: 'Identity', access: 'Access', deny: 'Denied', limits: 'Limits', target: 'Target', connection: 'Connection', policy: 'Policy',
};

export const formNotes: Record<string, string> = {
  role: 'rules over records, joining sessions, and who must join',
  session_recording_config: 'rules that mask parts of what leaves the cluster (redact)',
};
