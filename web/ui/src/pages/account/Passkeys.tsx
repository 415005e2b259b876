import { useState } from 'react';
import type { FormEvent } from 'react';
import { json, useAction, useQuery } from '../../api';
import type { Passkey, PasskeyBegin } from '../../api';
import { useConfirm } from '../../app/confirm';
import { useSession } from '../../app/session';
import { toast } from '../../app/toasts';
import { credentialJson, creationOptions, knowsPasskeys } from '../../lib/webauthn';
import { account as strings } from '../../strings/account';
import { ui } from '../../strings/app';
import { Button, ConfirmDialog, Dialog, Empty, IconPlus, IconToken, Note, Panel, Table, TextField, Time } from '../../ui';
import type { Column } from '../../ui';

export function Passkeys() {
  const { passkeys } = useSession();
  const list = useQuery(passkeys ? 'passkeys' : null, (signal) => json<{ items: Passkey[] }>('GET', '/v1/web/passkeys', { signal }));
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<Passkey>();
  const why = !passkeys ? strings.noServer : knowsPasskeys() ? undefined : strings.noSupport;
  const columns: Column<Passkey>[] = [
    { key: 'name', title: strings.passkeyName, phone: 'title', cell: (row) => row.name },
    { key: 'created', title: strings.added, cell: (row) => <Time at={row.created} /> },
    { key: 'used', title: strings.used, cell: (row) => (row.used ? <Time at={row.used} /> : <span className="faint">{strings.never}</span>) },
    { key: 'remove', title: strings.remove, hideTitle: true, align: 'right', width: '112px', cell: (row) => <Button size="small" onClick={() => setRemoving(row)}>{strings.remove}</Button> },
  ];
  const empty = <Empty icon={<IconToken size={32} />} title={strings.noPasskeys}>{strings.noPasskeysHelp}</Empty>;
  return (
    <Panel title={strings.passkeys} about={strings.passkeysAbout} flush actions={<Button icon={<IconPlus />} forbidden={why} onClick={() => setAdding(true)}>{strings.addPasskey}</Button>}>
      {passkeys && <Table label={strings.passkeys} columns={columns} rows={list.data?.items} rowKey={(row) => row.id} error={list.error} retry={list.reload} expect={1} empty={empty} />}
      {adding && <Add onClose={() => setAdding(false)} onDone={list.reload} />}
      {removing && <Remove passkey={removing} onClose={() => setRemoving(undefined)} onDone={list.reload} />}
    </Panel>
  );
}

function Add({ onClose, onDone }: { onClose: () => void; onDone: () => void }) {
  const sure = useConfirm();
  const [name, setName] = useState('');
  const { run, busy, error } = useAction(async () => {
    const { id, options } = await sure(() => json<PasskeyBegin>('POST', '/v1/web/passkeys/begin', { body: {} }));
    const credential = await navigator.credentials.create({ publicKey: creationOptions(options) });
    await json('POST', '/v1/web/passkeys/finish', { body: { id, name: name.trim(), credential: credentialJson(credential as PublicKeyCredential) } });
  });
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!(await run())) return;
    toast(strings.passkeyAdded);
    onDone();
    onClose();
  };
  return (
    <Dialog open title={strings.addPasskey} about={strings.passkeysAbout} onClose={onClose}>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        <TextField label={strings.passkeyName} hint={strings.passkeyHint} required maxLength={64} autoFocus value={name} onChange={(event) => setName(event.target.value)} />
        {error && <Note tone="bad">{error.message}</Note>}
        <div className="dialog-foot">
          <Button onClick={onClose}>{ui.cancel}</Button>
          <Button type="submit" look="primary" busy={busy} disabled={!name.trim()}>{strings.addPasskey}</Button>
        </div>
      </form>
    </Dialog>
  );
}

function Remove({ passkey, onClose, onDone }: { passkey: Passkey; onClose: () => void; onDone: () => void }) {
  const sure = useConfirm();
  const { run, busy, error } = useAction(() => sure(() => json('DELETE', `/v1/web/passkeys/${encodeURIComponent(passkey.id)}`)));
  const remove = async () => {
    if (!(await run())) return;
    toast(strings.passkeyRemoved);
    onDone();
    onClose();
  };
  return <ConfirmDialog open danger title={strings.removePasskey(passkey.name)} about={strings.removePasskeyAbout} verb={strings.remove} busy={busy} error={error} onClose={onClose} onConfirm={() => void remove()} />;
}
