// Names for what the API's document describes of browsers, as the pages use them.
import type { components } from './schema';

type Schema<N extends keyof components['schemas']> = components['schemas'][N];

export type May = WebSession['may'];
export type WebSession = Schema<'BrowserSession'>;
export type WebSessionRow = Schema<'BrowserSessionRow'>;
export type Passkey = Schema<'PasskeyRow'>;
export type PasskeyBegin = Schema<'PasskeyChallenge'>;
export type SecondFactors = Schema<'SecondFactors'>;
export type TotpBegin = Schema<'TotpChallenge'>;
export type Approval = Schema<'ApprovalView'>;
export type AuditState = Schema<'AuditState'>;
export type LintFault = Schema<'LintFault'>;
export type LintReply = Schema<'LintReply'>;
export type Reach = Schema<'Reaches'>;
export type RoleExplain = Schema<'RoleExplained'>;
/** How one may log in. Identity providers come with their own part of the API. */
export type WaysIn = Schema<'WaysIn'> & { providers?: { id: string; name: string; url: string }[] };
