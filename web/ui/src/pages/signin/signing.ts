import { ApiError, json, useAction } from '../../api';
import type { PasskeyBegin, WebSession } from '../../api';
import { useSessionState } from '../../app/session';
import { credentialJson, requestOptions } from '../../lib/webauthn';
import { signin as strings } from '../../strings/signin';

export function usePasswordSignIn() {
  const { enter } = useSessionState();
  return useAction(async (user: string, password: string, code: string) => {
    enter(await json<WebSession>('POST', '/v1/web/login', { body: { user, password, code }, proves: true }));
  });
}

/** The browser asks which passkey, the node checks it: no name is typed. */
export function usePasskeySignIn() {
  const { enter } = useSessionState();
  return useAction(async () => {
    const { id, options } = await json<PasskeyBegin>('POST', '/v1/web/passkeys/login/begin', { body: {} });
    const credential = await choose(options);
    enter(await json<WebSession>('POST', '/v1/web/passkeys/login/finish', { body: { id, credential: credentialJson(credential) }, proves: true }));
  });
}

async function choose(options: unknown): Promise<PublicKeyCredential> {
  let credential: Credential | null = null;
  try {
    credential = await navigator.credentials.get({ publicKey: requestOptions(options) });
  } catch {
    throw new ApiError(0, 'passkey', strings.passkeyGone);
  }
  if (!(credential instanceof PublicKeyCredential)) throw new ApiError(0, 'passkey', strings.passkeyFailed);
  return credential;
}
