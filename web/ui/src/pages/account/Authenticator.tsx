import { useState } from 'react';
import type { FormEvent } from 'react';
import { json, useAction, useQuery } from '../../api';
import type { SecondFactors, TotpBegin } from '../../api';
import { CodeList } from '../../app/codes';
import { useConfirm } from '../../app/confirm';
import { toast } from '../../app/toasts';
import { account as strings, codes as codeStrings } from '../../strings/account';
import { invite } from '../../strings/signin';
import { ui } from '../../strings/app';
import { Button, CopyButton, Dialog, Note, Panel, Skeleton, TextField } from '../../ui';
import { Qr } from '../../ui/Qr';
import '../invite/invite.css';

type Codes = { codes: string[] };

/** The authenticator, and the codes for the day it is lost. */
export function Authenticator() {
  const factors = useQuery('mfa', (signal) => json<SecondFactors>('GET', '/v1/mfa', { signal }));
  const [setting, setSetting] = useState(false);
  const [codes, setCodes] = useState<string[]>();
  const sure = useConfirm();
  const { run, busy, error } = useAction(async () => setCodes((await sure(() => json<Codes>('POST', '/v1/web/recovery', { body: {} }))).codes));
  if (factors.error) return <Panel title={strings.authenticator}><Note tone="bad">{factors.error.message}</Note></Panel>;
  if (factors.data && !factors.data.totp) return null;
  const left = factors.data?.recovery_left ?? 0;
  const close = () => {
    setCodes(undefined);
    factors.reload();
  };
  return (
    <>
      <Panel title={strings.authenticator} about={strings.authenticatorAbout} actions={<Button onClick={() => setSetting(true)}>{strings.newAuthenticator}</Button>} />
      <Panel title={codeStrings.title} about={codeStrings.about} actions={<Button busy={busy} onClick={() => void run()}>{codeStrings.make}</Button>}>
        {!factors.data && <Skeleton width="160px" />}
        {factors.data && <Note tone={left < 3 ? 'warn' : 'info'}>{codeStrings.left(left, factors.data.recovery_of)}</Note>}
        {error && <Note tone="bad">{error.message}</Note>}
      </Panel>
      {codes && <Shown codes={codes} onClose={close} />}
      {setting && <NewAuthenticator onClose={() => setSetting(false)} onDone={(made) => { setSetting(false); setCodes(made); }} />}
    </>
  );
}

function Shown({ codes, onClose }: { codes: string[]; onClose: () => void }) {
  return (
    <Dialog open title={codeStrings.title} about={codeStrings.about} onClose={onClose}>
      <div className="stack">
        <CodeList codes={codes} />
        <div className="dialog-foot"><Button look="primary" onClick={onClose}>{codeStrings.kept}</Button></div>
      </div>
    </Dialog>
  );
}

function NewAuthenticator({ onClose, onDone }: { onClose: () => void; onDone: (codes: string[]) => void }) {
  const sure = useConfirm();
  const begun = useQuery('totp', () => sure(() => json<TotpBegin>('POST', '/v1/web/totp/begin', { body: {} })));
  const [code, setCode] = useState('');
  const { run, busy, error } = useAction(async (id: string) => {
    const { codes } = await sure(() => json<Codes>('POST', '/v1/web/totp/finish', { body: { id, code } }));
    toast(strings.authenticatorSet);
    onDone(codes);
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (begun.data) void run(begun.data.id);
  };
  return (
    <Dialog open title={strings.newAuthenticatorTitle} about={strings.newAuthenticatorAbout} onClose={onClose}>
      <form className="stack" onSubmit={submit}>
        {begun.error && <Note tone="bad">{begun.error.message}</Note>}
        {begun.data ? (
          <>
            <p className="small soft">{invite.scan}</p>
            <Qr text={begun.data.totp_uri} label={invite.qr} />
            <div className="field">
              <span className="field-hint">{invite.secret}</span>
              <div className="secret"><code className="grow break">{begun.data.totp_secret.replace(/(.{4})(?=.)/g, '$1 ')}</code><CopyButton text={begun.data.totp_secret} label={invite.copySecret} /></div>
            </div>
          </>
        ) : <Skeleton lines={6} height="20px" />}
        <TextField label={invite.code} hint={invite.codeRule} inputMode="numeric" autoComplete="one-time-code" maxLength={6} required value={code} onChange={(event) => setCode(event.target.value.replace(/\D/g, ''))} />
        {error && <Note tone="bad">{error.message}</Note>}
        <div className="dialog-foot">
          <Button onClick={onClose}>{ui.cancel}</Button>
          <Button type="submit" look="primary" busy={busy} disabled={!begun.data || code.length !== 6}>{strings.useAuthenticator}</Button>
        </div>
      </form>
    </Dialog>
  );
}
