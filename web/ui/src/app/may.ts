import type { May } from '../api/names';
import { ui } from '../strings/app';

/** The reason against, or undefined when it is allowed. What the node does not mention is not allowed. */
export function allowed(may: May, resource: string, verb: string): string | undefined {
  const reason = may[resource]?.[verb];
  return reason === '' ? undefined : (reason ?? ui.forbidden);
}
