// Types of routes that the API's document does not describe yet. A type leaves this file when the document has it.

export type May = Record<string, Record<string, string>>;

export type WebSession = {
  id: string;
  user: string;
  cluster: string;
  version: string;
  node: string;
  roles: string[];
  logins: string[];
  csrf: string;
  resume: string;
  created: string;
  expires: string;
  second_factor: boolean;
  /** Absent where the cluster does not offer them. */
  passkeys?: boolean;
  web_addrs: string[];
  may: May;
};

export type WebSessionRow = { id: string; created: string; seen: string; expires: string; addr: string; agent: string; current: boolean };
export type Passkey = { id: string; name: string; created: string; used: string | null };
export type PasskeyBegin = { id: string; options: unknown };

export type AuditState = {
  events: number;
  signed: number;
  head_time: string | null;
  verified: boolean;
  message: string;
  checked: string | null;
};

export type LintFault = { line: number; column: number; message: string; hint: string };
export type LintReply = { faults: LintFault[]; kind: string; name: string };
export type Reach = { user: string; host: string; logins: string[] };
export type RoleExplain = {
  role: string;
  exists: boolean;
  users: string[];
  reach: Reach[];
  gained: Reach[];
  lost: Reach[];
  pairs: number;
  cut: boolean;
};

/** How one may log in. Identity providers come with their own part of the API. */
export type WaysIn = {
  cluster: string;
  version: string;
  second_factor: boolean;
  passkeys: boolean;
  providers?: { id: string; name: string; url: string }[];
};
