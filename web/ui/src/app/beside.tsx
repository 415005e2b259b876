// What is shown beside a password: six digits, or a recovery code; and the passkey that can stand in its place.
import { useState } from 'react';
import { ApiError, json } from '../api';
import type { PasskeyBegin } from '../api';
import { credentialJson, requestOptions } from '../lib/webauthn';
import { beside as strings } from '../strings/signin';
import { Button, TextField } from '../ui';

type Props = { code: string; setCode: (code: string) => void; required: boolean };

/** The code, with a way to those who have lost what shows it. */
export function CodeField({ code, setCode, required }: Props) {
  const [recovery, setRecovery] = useState(false);
  const swap = () => {
    setRecovery(!recovery);
    setCode('');
  };
  return (
    <div className="stack-s">
      {recovery ? (
        <TextField
          label={strings.recovery} hint={strings.recoveryHint} autoComplete="off" autoCapitalize="none" spellCheck={false} maxLength={16} autoFocus
          required={required} value={code} onChange={(event) => setCode(event.target.value.trim())}
        />
      ) : (
        <TextField
          label={strings.code} hint={strings.codeHint} inputMode="numeric" pattern="[0-9]{6}" autoComplete="one-time-code" maxLength={6}
          required={required} value={code} onChange={(event) => setCode(event.target.value.replace(/\D/g, ''))}
        />
      )}
      <div><Button size="small" look="quiet" onClick={swap}>{recovery ? strings.useCode : strings.useRecovery}</Button></div>
    </div>
  );
}

/** What the node takes in the place of a code. The browser asks which passkey. */
export async function passkeyAnswer(): Promise<{ id: string; credential: Record<string, unknown> }> {
  const { id, options } = await json<PasskeyBegin>('POST', '/v1/web/passkeys/login/begin', { body: {} });
  return { id, credential: credentialJson(await choose(options)) };
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
