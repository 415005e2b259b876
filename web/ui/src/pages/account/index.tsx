import { useState } from 'react';
import type { FormEvent } from 'react';
import { json, useAction } from '../../api';
import { useConfirm } from '../../app/confirm';
import { useSession } from '../../app/session';
import { toast } from '../../app/toasts';
import { passwordReady } from '../../lib/password';
import { account as strings } from '../../strings/account';
import { ui } from '../../strings/app';
import { Button, Chip, Dialog, Facts, Note, Page, PageHeader, Panel, Time } from '../../ui';
import { NewPassword } from '../invite/NewPassword';
import { Authenticator } from './Authenticator';
import { BrowserSessions } from './BrowserSessions';
import { Passkeys } from './Passkeys';

export default function Account() {
  const session = useSession();
  const [changing, setChanging] = useState(false);
  const chips = (list: string[], none: string) => (list.length ? <span className="row-wrap">{list.map((one) => <Chip key={one}>{one}</Chip>)}</span> : <span className="faint">{none}</span>);
  return (
    <Page>
      <PageHeader title={strings.title} about={strings.about(session.cluster)} />
      <Panel title={session.user}>
        <Facts
          items={[
            [strings.roles, chips(session.roles, '–')],
            [strings.logins, chips(session.logins, strings.noLogins)],
            [strings.until, <Time key="t" at={session.expires} />],
          ]}
        />
      </Panel>
      <Panel title={strings.password} about={strings.passwordAbout} actions={<Button onClick={() => setChanging(true)}>{strings.change}</Button>} />
      <Authenticator />
      <Passkeys />
      <BrowserSessions />
      {changing && <ChangePassword onClose={() => setChanging(false)} />}
    </Page>
  );
}

function ChangePassword({ onClose }: { onClose: () => void }) {
  const sure = useConfirm();
  const { user } = useSession();
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const { run, busy, error } = useAction(() => sure(() => json('PUT', '/v1/web/password', { body: { password } })));
  const ready = passwordReady(password, again);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!ready || !(await run())) return;
    toast(strings.changed);
    onClose();
  };
  return (
    <Dialog open title={strings.change} about={strings.passwordAbout} onClose={onClose}>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        <input type="text" name="username" autoComplete="username" value={user} readOnly hidden />
        <NewPassword {...{ password, setPassword, again, setAgain }} />
        {error && <Note tone="bad">{error.message}</Note>}
        <div className="dialog-foot">
          <Button onClick={onClose}>{ui.cancel}</Button>
          <Button type="submit" look="primary" busy={busy} disabled={!ready}>{strings.save}</Button>
        </div>
      </form>
    </Dialog>
  );
}

