import { useState, type FormEvent } from 'react';
import { json, useAction } from '../../api';
import { useNames } from '../../admin/api';
import { useMay, useSession } from '../../app/session';
import { toast } from '../../app/toasts';
import { admin } from '../../strings/admin';
import { ui } from '../../strings/app';
import { Button, Dialog, Note, Segments, SelectField, TextField } from '../../ui';

const words = admin.locks;
const KINDS = ['user', 'role', 'login', 'host'] as const;
type Kind = (typeof KINDS)[number];

/** Locks somebody or something. */
export function LockDialog({ on, onClose, onDone }: { on?: { kind: Kind; name: string }; onClose: () => void; onDone: () => void }) {
  const [kind, setKind] = useState<Kind>(on?.kind ?? 'user');
  const [name, setName] = useState(on?.name ?? '');
  const [ttl, setTtl] = useState('28800');
  const [message, setMessage] = useState('');
  const [tried, setTried] = useState(false);
  const me = useSession().user;
  const mayList = { user: useMay('user', 'list'), role: useMay('role', 'list'), host: useMay('host', 'list') };
  const offers = useNames(kind !== 'login' && !mayList[kind] ? kind : null);
  const target = name.trim();
  const action = useAction(() => {
    const expires = ttl === '' ? {} : { expires: new Date(Date.now() + Number(ttl) * 1000).toISOString() };
    // Two locks on one person must not have one name.
    const id = `${kind}-${target.toLowerCase().replace(/[^a-z0-9-]+/g, '-')}`.slice(0, 40);
    const record = {
      kind: 'lock', version: 'v1', metadata: { name: `${id}-${crypto.randomUUID().slice(0, 8)}`, ...expires },
      spec: { target: { [kind]: target }, ...(message.trim() === '' ? {} : { message: message.trim() }) },
    };
    return json('POST', '/v1/records/lock', { body: record });
  });
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (target === '' || !(await action.run())) return;
    toast(words.locked(`${words.kinds[kind]} ${target}`));
    onDone();
    onClose();
  };
  return (
    <Dialog open onClose={onClose} title={words.title} about={words.warn}>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        <div className="stack-s">
          <Segments label={words.kind} value={kind} onValue={setKind} choices={KINDS.map((value) => ({ value, label: words.kinds[value] }))} />
          <span className="small soft">{words.kindHints[kind]}</span>
        </div>
        <TextField label={words.name} value={name} onChange={(event) => setName(event.target.value)} list="lock-names" autoFocus={on === undefined} autoComplete="off" autoCapitalize="none" spellCheck={false} error={tried && target === '' ? words.noName : undefined} />
        <datalist id="lock-names">{offers.map((offer) => <option key={offer} value={offer} />)}</datalist>
        <SelectField label={words.ttl} value={ttl} onChange={(event) => setTtl(event.target.value)} choices={['3600', '28800', '86400', '604800', ''].map((value) => ({ value, label: words.ttls[value] ?? value }))} />
        <TextField label={words.message} hint={words.messageHint} value={message} onChange={(event) => setMessage(event.target.value)} mark="optional" />
        {kind === 'user' && target === me && <Note tone="warn">{words.self}</Note>}
        {action.error && <Note tone="bad">{action.error.message}</Note>}
        <div className="dialog-foot">
          <Button onClick={onClose}>{ui.cancel}</Button>
          <Button look="danger" type="submit" busy={action.busy}>{words.verb}</Button>
        </div>
      </form>
    </Dialog>
  );
}
