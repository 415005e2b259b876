import { useState, type FormEvent } from 'react';
import { json, useAction, type Schema } from '../../api';
import { readLabels } from '../../admin/kinds';
import { exact } from '../../lib/format';
import { admin } from '../../strings/admin';
import { ui } from '../../strings/app';
import { Button, Code, CopyButton, Dialog, Note, Segments, SelectField, TextField } from '../../ui';
import { Secret } from './parts';

const words = admin.tokens;
type Kind = 'host' | 'node';

/** The lines that use a token. The secret itself is typed in, since other accounts can see arguments. */
export function joinLines(kind: Kind, addresses: readonly string[]): string {
  const at = addresses[0] ?? 'ADDRESS';
  return kind === 'node' ? `palctl cluster join - ${at}` : `palisade agent join - ${at}\nsystemctl enable --now palisade-agent`;
}

export function TokenDialog({ onClose, onDone }: { onClose: () => void; onDone: () => void }) {
  const [kind, setKind] = useState<Kind>('host');
  const [name, setName] = useState('');
  const [labels, setLabels] = useState('');
  const [ttl, setTtl] = useState('1800');
  const [token, setToken] = useState<Schema<'JoinToken'>>();
  const read = readLabels(labels);
  const action = useAction(async () => {
    if ('bad' in read) return;
    const host = kind === 'host' ? { host: { ...(name.trim() === '' ? {} : { name: name.trim() }), labels: read.labels } } : {};
    setToken(await json<Schema<'JoinToken'>>('POST', '/v1/tokens', { body: { ttl_secs: Number(ttl), ...host } }));
    onDone();
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (kind === 'node' || !('bad' in read)) void action.run();
  };
  if (token) {
    const lines = joinLines(kind, token.web_addrs);
    return (
      <Dialog open onClose={onClose} title={words.title} foot={<Button look="primary" onClick={onClose}>{words.done}</Button>}>
        <Note tone="warn" title={words.once}>{words.onceHelp}</Note>
        <Secret label={words.token} text={token.token} />
        <div className="stack-s">
          <span className="field-label">{kind === 'node' ? words.nodeRun : words.hostRun}</span>
          <Code text={lines} label={kind === 'node' ? words.nodeRun : words.hostRun} actions={<CopyButton text={lines} />} />
          <span className="small soft">{words.waits} {words.until(exact(new Date(token.expires), true))}</span>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog open onClose={onClose} title={words.title}>
      <form className="stack" onSubmit={submit}>
        <Segments label={words.kind} value={kind} onValue={setKind} choices={[{ value: 'host', label: words.kinds.host }, { value: 'node', label: words.kinds.node }]} />
        {kind === 'node'
          ? <Note tone="warn">{words.nodeWarn}</Note>
          : (
            <>
              <TextField label={words.hostName} hint={words.hostHint} value={name} onChange={(event) => setName(event.target.value)} mark="optional" autoComplete="off" autoCapitalize="none" spellCheck={false} />
              <TextField label={words.hostLabels} hint={words.hostLabelsHint} value={labels} onChange={(event) => setLabels(event.target.value)} mark="optional" autoComplete="off" autoCapitalize="none" spellCheck={false} error={'bad' in read ? words.badLabel(read.bad) : undefined} />
            </>
          )}
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
