import { useState } from 'react';
import type { FormEvent } from 'react';
import { useLocation, useParams } from 'wouter';
import { api, call, useAction, useQuery } from '../../api';
import type { Schema } from '../../api';
import { AloneCard } from '../../app/alone';
import { CodeList } from '../../app/codes';
import { passwordReady } from '../../lib/password';
import { invite as strings } from '../../strings/signin';
import { Button, CopyButton, Empty, Failed, IconLink, IconOk, Note, Skeleton, TextField } from '../../ui';
import { Qr } from '../../ui/Qr';
import { NewPassword } from './NewPassword';
import './invite.css';

/** Where the link of an invite or a reset leads. */
export default function Invite() {
  const { token = '' } = useParams();
  const view = useQuery(['invite', token], (signal) => call(api.GET('/v1/invites/{token}', { params: { path: { token } }, signal })));
  // Fetched while the link is good: it works once.
  const recovery = useQuery(['invite-codes', token], (signal) => call(api.GET('/v1/invites/{token}/recovery', { params: { path: { token } }, signal })));
  const [done, setDone] = useState(false);
  if (done && view.data) return <Done user={view.data.user} code={view.data.second_factor} codes={recovery.data?.codes ?? []} />;
  if (view.data) return <AcceptForm token={token} view={view.data} onDone={() => setDone(true)} />;
  if (!view.error) return <AloneCard title={strings.plainTitle}><div><Skeleton lines={6} height="20px" /></div></AloneCard>;
  const gone = view.error.status >= 400 && view.error.status < 500 && view.error.status !== 429;
  return (
    <AloneCard title={strings.plainTitle}>
      {gone ? <Empty icon={<IconLink size={32} />} title={strings.gone}>{strings.goneHelp}</Empty> : <Failed error={view.error} retry={view.reload} />}
    </AloneCard>
  );
}

function AcceptForm({ token, view, onDone }: { token: string; view: Schema<'InviteView'>; onDone: () => void }) {
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const [code, setCode] = useState('');
  const ready = passwordReady(password, again) && (!view.second_factor || code.length === 6);
  const { run, busy, error } = useAction(() =>
    call(api.POST('/v1/invites/{token}', { params: { path: { token } }, body: { password, ...(view.second_factor ? { code } : {}) } })),
  );
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (ready && (await run())) onDone();
  };
  return (
    <AloneCard title={strings.title(view.user)} about={strings.about(view.cluster)}>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        {/* Password managers file the new password under this name. */}
        <input type="text" name="username" autoComplete="username" value={view.user} readOnly hidden />
        <NewPassword {...{ password, setPassword, again, setAgain }} />
        {view.second_factor && (
          <fieldset className="stack">
            <legend className="field-label">{strings.authenticator}</legend>
            <p className="small soft">{strings.scan}</p>
            <Qr text={view.totp_uri} label={strings.qr} />
            <div className="field">
              <span className="field-hint">{strings.secret}</span>
              <div className="secret"><code className="grow break">{spaced(view.totp_secret)}</code><CopyButton text={view.totp_secret} label={strings.copySecret} /></div>
            </div>
            <TextField
              label={strings.code} hint={strings.codeRule} inputMode="numeric" autoComplete="one-time-code" maxLength={6} required
              value={code} onChange={(event) => setCode(event.target.value.replace(/\D/g, ''))}
            />
          </fieldset>
        )}
        {error && <Note tone="bad">{error.message}</Note>}
        <Button type="submit" look="primary" size="large" busy={busy} disabled={!ready}>{strings.go}</Button>
      </form>
    </AloneCard>
  );
}

const spaced = (secret: string) => secret.replace(/(.{4})(?=.)/g, '$1 ');

function Done({ user, code, codes }: { user: string; code: boolean; codes: string[] }) {
  const [, go] = useLocation();
  return (
    <AloneCard title={strings.done}>
      <Note tone="ok">{code ? strings.doneHelp(user) : strings.doneHelpPlain(user)}</Note>
      {codes.length > 0 && <CodeList codes={codes} />}
      <Button look="primary" size="large" icon={<IconOk />} onClick={() => go(`/signin?user=${encodeURIComponent(user)}`, { replace: true })}>{strings.toSignIn}</Button>
    </AloneCard>
  );
}
