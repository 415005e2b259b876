import { invite } from '../strings/signin';

// The node's own rule; it is the one that counts. Here it spares a round trip.
export const passwordMin = 8;
const most = 1024;

/** What is wrong with a new password, or nothing. Nothing is said of one that has not been typed. */
export function passwordFault(password: string): string | undefined {
  const size = new TextEncoder().encode(password).length;
  if (!password) return undefined;
  if (size < passwordMin) return invite.short(passwordMin - size);
  return size > most ? invite.long : undefined;
}

export function repeatFault(password: string, again: string): string | undefined {
  return again && !password.startsWith(again) ? invite.differs : undefined;
}

export function passwordReady(password: string, again: string): boolean {
  return password.length > 0 && passwordFault(password) === undefined && password === again;
}
