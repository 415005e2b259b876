import { useMay } from '../app/session';

/** Why this person may not read the audit log, or undefined. Roles call it `event`. */
export const useMayAudit = (): string | undefined => useMay('event', 'list');
