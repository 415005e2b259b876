// English, in one place. Functions are for what has a number or a name inside.

export const app = {
  name: 'Palisade',
  title: (page: string) => `${page} · Palisade`,
  skip: 'Skip to the content',
  menu: 'Menu',
  closeMenu: 'Close the menu',
  main: 'Main',
  account: 'Account',
  signOut: 'Sign out',
  node: (name: string) => `Node ${name}`,
  version: (v: string) => `Version ${v}`,
  theme: 'Theme',
  themes: { system: 'As the system', light: 'Light', dark: 'Dark' },
  loading: 'Loading',
  notFound: 'There is no such page',
  notFoundHelp: 'The address may be mistyped, or the page may have moved.',
  toHosts: 'Go to hosts',
  crashed: 'This page failed',
  crashedHelp: 'What was saved is safe. Load the page again; if it fails again, tell whoever runs this cluster what is written below.',
  reload: 'Load again',
  outdated: 'The node serves a newer version of this page.',
  newTab: 'opens in a new tab',
};

export const nav = {
  groups: { access: 'Access', activity: 'Activity', admin: 'Administration', system: 'System' },
  hosts: 'Hosts',
  clusters: 'Clusters',
  terminal: 'Terminal',
  sessions: 'Sessions',
  audit: 'Audit',
  users: 'Users',
  roles: 'Roles',
  locks: 'Locks',
  tokens: 'Tokens',
  hostRecords: 'Host records',
  policies: 'Policies',
  cluster: 'Cluster',
  help: 'Help',
  about: 'About',
};

export const palette = {
  open: 'Go to',
  title: 'Go to a page or connect',
  input: 'Page, host or login@host',
  pages: 'Pages',
  hosts: 'Hosts',
  actions: 'Actions',
  connect: (target: string) => `Connect to ${target}`,
  nothing: 'Nothing has that name. Type login@host to connect to a host by its name.',
  keys: 'Ctrl K',
};

export const ui = {
  close: 'Close',
  cancel: 'Cancel',
  copy: 'Copy',
  copied: 'Copied',
  more: 'Show more',
  loadingMore: 'Loading more',
  retry: 'Try again',
  failed: 'This could not be loaded',
  dismiss: 'Dismiss',
  notifications: 'Notifications',
  refresh: 'Refresh',
  search: 'Search',
  clear: 'Clear',
  required: 'required',
  optional: 'optional',
  actions: 'Actions',
  showPassword: 'Show the password',
  hidePassword: 'Hide the password',
  forbidden: 'Your roles do not allow this.',
};

export const confirm = {
  title: 'Confirm that it is you',
  why: 'Passwords, passkeys and the like change only after the person at the keyboard has been checked. It holds for five minutes.',
  password: 'Password',
  go: 'Confirm',
  passkey: 'Confirm with a passkey',
};

export const errors = {
  unreachable: 'The node does not answer. Check the connection, or open another node of the cluster.',
  unknown: 'Something went wrong that has no description.',
  server: (status: number) => `The node failed to answer (${status}). Try again; if it goes on, look at the log of the node.`,
  status: (status: number) => `The node refused the request (${status}).`,
};

export const units = {
  s: 's',
  min: 'min',
  h: 'h',
  d: 'd',
  now: 'just now',
  ago: (text: string) => `${text} ago`,
  ahead: (text: string) => `in ${text}`,
};
