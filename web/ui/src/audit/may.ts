import { allowed } from '../app/may';
import { useSession } from '../app/session';

/** Why this person may not read the audit log, or undefined. Roles call it `event`. */
export function useMayAudit(): string | undefined {
  const { may } = useSession();
  return allowed(may, 'event' in may ? 'event' : 'audit', 'list');
}
