import { useState, type FormEvent } from 'react';
import { api, call, json, useAction, useQuery, type Schema } from '../../api';
import { toast } from '../../app/toasts';
import { exact } from '../../lib/format';
import { player } from '../../strings/player';
import { Badge, Button, CopyButton, Dialog, Failed, Note, SelectField, TextField, Tooltip } from '../../ui';

const words = player.sharing;
type Link = Schema<'ShareLink'>;
type Row = Schema<'ShareRow'>;

/** Makes a link that shows the recording to somebody without a login, shows it once, and lists those that there are. */
export function ShareDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const [link, setLink] = useState<Link>();
  const shares = useQuery(['shares', id], (signal) => call(api.GET('/v1/recordings/{id}/shares', { params: { path: { id } }, signal })).then((answer) => answer.items), { keep: true });
  const made = (next: Link) => {
    setLink(next);
    shares.reload();
  };
  return (
    <Dialog open wide onClose={onClose} title={words.title} about={words.about} foot={<Button onClick={onClose}>{words.done}</Button>}>
      {link ? <Made link={link} /> : <MakeForm id={id} onMade={made} />}
      <h3>{words.links}</h3>
      {shares.error
        ? <Failed error={shares.error} retry={shares.reload} />
        : shares.data && (shares.data.length === 0 ? <p className="soft">{words.none}</p> : <ul className="shares">{shares.data.map((row) => <ShareItem key={row.id} id={id} row={row} onRevoked={shares.reload} />)}</ul>)}
    </Dialog>
  );
}

function MakeForm({ id, onMade }: { id: string; onMade: (link: Link) => void }) {
  const [days, setDays] = useState('7');
  const [note, setNote] = useState('');
  const make = useAction(async () => {
    const expires = new Date(Date.now() + Number(days) * 86_400_000).toISOString();
    onMade(await json<Link>('POST', `/v1/recordings/${encodeURIComponent(id)}/shares`, { body: { expires, note } }));
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void make.run();
  };
  return (
    <form className="stack" onSubmit={submit}>
      <SelectField label={words.expiry} value={days} onChange={(event) => setDays(event.target.value)} choices={Object.entries(words.expiries).map(([value, label]) => ({ value, label }))} />
      <TextField label={words.note} hint={words.noteHint} maxLength={200} value={note} onChange={(event) => setNote(event.target.value)} />
      {make.error && <Note tone="bad">{make.error.message}</Note>}
      <div><Button look="primary" type="submit" busy={make.busy}>{words.verb}</Button></div>
    </form>
  );
}

function Made({ link }: { link: Link }) {
  return (
    <div className="player-share stack">
      <Note tone="warn" title={words.once}>{words.onceHelp}</Note>
      <div className="secret"><code className="break grow">{link.url}</code><CopyButton text={link.url} /></div>
      <p className="small soft">{words.until(exact(new Date(link.expires), true))}</p>
    </div>
  );
}

function ShareItem({ id, row, onRevoked }: { id: string; row: Row; onRevoked: () => void }) {
  const revoke = useAction(async () => {
    await json('DELETE', `/v1/recordings/${encodeURIComponent(id)}/shares/${encodeURIComponent(row.id)}`);
    toast(words.revoked);
    onRevoked();
  });
  const when = (text: string) => exact(new Date(text), true);
  return (
    <li className="share">
      <span className="grow">
        <span className="row-wrap">
          <span className="break">{row.note || words.noNote}</span>
          {row.void ? <Tooltip text={row.void}><button type="button" className="plain-button" aria-label={`${words.void}: ${row.void}`}><Badge tone="warn">{words.void}</Badge></button></Tooltip> : null}
        </span>
        <span className="small soft">{words.row(row.maker, when(row.created), when(row.expires))}</span>
        <span className="small soft">{row.last_opened ? words.opened(row.opened, when(row.last_opened)) : words.neverOpened}</span>
        {revoke.error && <Note tone="bad">{revoke.error.message}</Note>}
      </span>
      <Button size="small" busy={revoke.busy} aria-label={words.revokeLabel(row.note || words.noNote)} onClick={() => void revoke.run()}>{words.revoke}</Button>
    </li>
  );
}

