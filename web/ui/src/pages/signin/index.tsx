import { useState } from 'react';
import type { FormEvent } from 'react';
import { Redirect, useSearch } from 'wouter';
import { json, useQuery } from '../../api';
import type { WaysIn } from '../../api';
import { AloneCard } from '../../app/alone';
import { CodeField } from '../../app/beside';
import { useSessionState } from '../../app/session';
import { returnPath } from '../../lib/url';
import { knowsPasskeys } from '../../lib/webauthn';
import { signin as strings } from '../../strings/signin';
import { Button, IconToken, Note, PasswordField, Skeleton, TextField } from '../../ui';
import { usePasskeySignIn, usePasswordSignIn } from './signing';

export default function SignIn() {
  const { state } = useSessionState();
  const search = useSearch();
  const ways = useQuery('ways', (signal) => json<WaysIn>('GET', '/v1/web/ways', { signal }));
  if (state.is === 'in') return <Redirect to={returnPath(new URLSearchParams(search).get('to'), location.origin)} replace />;

  const { cluster, version, second_factor: code, passkeys, passwordless, providers } = ways.data ?? {};
  const known = passkeys === true && knowsPasskeys();
  const title = cluster ? strings.title(cluster) : strings.plainTitle;
  return (
    <AloneCard title={title} foot={version && strings.node(version)}>
      {ways.data && !cluster && <Note tone="warn">{strings.noCluster}</Note>}
      {ways.error && <Note tone="bad">{ways.error.message}</Note>}
      {ways.loading ? <FormSkeleton /> : <Ways passkeys={known && passwordless === true} beside={known} providers={providers ?? []} code={code ?? true} />}
    </AloneCard>
  );
}

type WaysProps = { passkeys: boolean; beside: boolean; providers: NonNullable<WaysIn['providers']>; code: boolean };

/** Passkeys first, then the identity providers; with providers the password form is one click away. */
function Ways({ passkeys, beside, providers, code }: WaysProps) {
  const [form, setForm] = useState(providers.length === 0);
  const passkey = usePasskeySignIn();
  return (
    <>
      {passkeys && <Button look="primary" size="large" icon={<IconToken />} busy={passkey.busy} onClick={() => void passkey.run()}>{strings.passkey}</Button>}
      {passkey.error && <Note tone="bad">{passkey.error.message}</Note>}
      {providers.map((one) => <a key={one.id} className="btn btn-plain btn-large" href={one.url}>{strings.providers(one.name)}</a>)}
      {(passkeys || providers.length > 0) && <div className="or">{strings.or}</div>}
      {form
        ? <PasswordForm code={code} passkey={code && beside} first={!passkeys && providers.length === 0} />
        : <Button size="large" onClick={() => setForm(true)}>{strings.withPassword}</Button>}
    </>
  );
}

function PasswordForm({ code: wantsCode, passkey, first }: { code: boolean; passkey: boolean; first: boolean }) {
  const [user, setUser] = useState(() => new URLSearchParams(location.search).get('user') ?? '');
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const { run, busy, error } = usePasswordSignIn();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    // A code is good for once: after a failure the next one is wanted.
    if (!(await run(user.trim(), password, code))) setCode('');
  };
  return (
    <form className="stack" onSubmit={(event) => void submit(event)}>
      <TextField label={strings.user} autoComplete="username webauthn" autoCapitalize="none" spellCheck={false} required autoFocus={!user} value={user} onChange={(event) => setUser(event.target.value)} />
      <PasswordField label={strings.password} autoComplete="current-password" required autoFocus={Boolean(user)} value={password} onChange={(event) => setPassword(event.target.value)} />
      {wantsCode && <CodeField code={code} setCode={setCode} required />}
      {error && <Note tone="bad">{error.message}</Note>}
      <Button type="submit" size="large" look={first ? 'primary' : 'plain'} busy={busy}>{strings.go}</Button>
      {passkey && <Button size="large" look="quiet" icon={<IconToken />} busy={busy} disabled={!user.trim() || !password} onClick={() => void run(user.trim(), password, undefined)}>{strings.passkeyBeside}</Button>}
    </form>
  );
}

function FormSkeleton() {
  return (
    <div className="stack" aria-hidden="true">
      {[0, 1, 2].map((n) => <div key={n}><Skeleton width="80px" /><Skeleton height="32px" /></div>)}
      <Skeleton height="40px" />
    </div>
  );
}
