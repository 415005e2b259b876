import { useState, type FormEvent } from 'react';
import { json, useAction, type Schema } from '../../api';
import { exact } from '../../lib/format';
import { admin } from '../../strings/admin';
import { ui } from '../../strings/app';
import { Button, Dialog, Note, SelectField } from '../../ui';
import { Secret } from './parts';

const words = admin.invite;

/** Makes a link that sets or resets somebody's password, and shows it once. */
export function InviteDialog({ user, onClose }: { user: string; onClose: () => void }) {
  const [ttl, setTtl] = useState('86400');
  const [link, setLink] = useState<Schema<'InviteLink'>>();
  const action = useAction(async () => setLink(await json<Schema<'InviteLink'>>('POST', `/v1/users/${encodeURIComponent(user)}/invites`, { body: { ttl_secs: Number(ttl) } })));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void action.run();
  };
  if (link) {
    return (
      <Dialog open onClose={onClose} title={words.title(user)} foot={<Button look="primary" onClick={onClose}>{words.done}</Button>}>
        <Note tone="warn" title={words.once}>{words.onceHelp}</Note>
        <Secret label={words.link} text={link.url} />
        <Secret label={words.cli} text={`pal invite accept '${link.url}' --ca-pin ${link.ca_pin}`} />
        <p className="small soft">{words.until(exact(new Date(link.expires), true))}</p>
      </Dialog>
    );
  }
  return (
    <Dialog open onClose={onClose} title={words.title(user)} about={words.about}>
      <form className="stack" onSubmit={submit}>
        <SelectField label={words.ttl} value={ttl} onChange={(event) => setTtl(event.target.value)} choices={Object.entries(words.ttls).map(([value, label]) => ({ value, label }))} />
        {action.error && <Note tone="bad">{action.error.message}</Note>}
        <div className="dialog-foot">
          <Button onClick={onClose}>{ui.cancel}</Button>
          <Button look="primary" type="submit" busy={action.busy}>{words.verb}</Button>
        </div>
      </form>
    </Dialog>
  );
}
