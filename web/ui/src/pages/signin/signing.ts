import { json, useAction } from '../../api';
import type { WebSession } from '../../api';
import { passkeyAnswer } from '../../app/beside';
import { useSessionState } from '../../app/session';

/** With the password, and beside it the code or, where there is none, a passkey. */
export function usePasswordSignIn() {
  const { enter } = useSessionState();
  return useAction(async (user: string, password: string, code: string | undefined) => {
    const beside = code === undefined ? { passkey: await passkeyAnswer() } : { code };
    enter(await json<WebSession>('POST', '/v1/web/login', { body: { user, password, ...beside }, proves: true }));
  });
}

/** The browser asks which passkey, the node checks it: no name is typed. */
export function usePasskeySignIn() {
  const { enter } = useSessionState();
  return useAction(async () => {
    enter(await json<WebSession>('POST', '/v1/web/passkeys/login/finish', { body: await passkeyAnswer(), proves: true }));
  });
}
