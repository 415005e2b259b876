import { useId, useState } from 'react';
import type { FormEvent } from 'react';
import { bytes } from '../../lib/format';
import { ui } from '../../strings/app';
import { files as strings } from '../../strings/terminal';
import { Button, Dialog, IconButton, IconCheck, IconClose, IconDownload, IconError, IconRefresh, IconUpload, TextField } from '../../ui';
import type { Transfer, Transfers } from './useTransfers';

type Props = { title: string; transfers: Transfers; dropped?: File[]; onClose: () => void };

export function Files({ title, transfers, dropped, onClose }: Props) {
  const [chosen, setChosen] = useState<File[]>(dropped ?? []);
  const [into, setInto] = useState('');
  const [path, setPath] = useState('');
  const input = useId();
  const upload = (event: FormEvent) => {
    event.preventDefault();
    transfers.upload(chosen, into);
    setChosen([]);
  };
  const download = (event: FormEvent) => {
    event.preventDefault();
    if (!path.trim()) return;
    transfers.download(path);
    setPath('');
  };
  return (
    <Dialog open title={title} onClose={onClose}>
      <form className="stack-s" onSubmit={upload}>
        <h3>{strings.upload}</h3>
        <label
          htmlFor={input} className="file-drop" onDragOver={(event) => event.preventDefault()}
          onDrop={(event) => { event.preventDefault(); setChosen([...event.dataTransfer.files]); }}
        >
          <IconUpload />
          <span className="grow break">{chosen.length ? chosen.map((file) => `${file.name} (${bytes(file.size)})`).join(', ') : strings.drop}</span>
          <input id={input} type="file" multiple className="sr" onChange={(event) => setChosen([...(event.target.files ?? [])])} />
        </label>
        {chosen.length > 0 && (
          <div className="file-row">
            <TextField label={strings.into} hint={strings.intoHint} value={into} onChange={(event) => setInto(event.target.value)} autoFocus autoCapitalize="none" spellCheck={false} />
            <Button type="submit" look="primary">{strings.upload}</Button>
          </div>
        )}
      </form>
      <form className="stack-s" onSubmit={download}>
        <h3>{strings.download}</h3>
        <div className="file-row">
          <TextField label={strings.path} hint={strings.pathHint} value={path} onChange={(event) => setPath(event.target.value)} autoCapitalize="none" spellCheck={false} />
          <Button type="submit" icon={<IconDownload />} disabled={!path.trim()}>{strings.get}</Button>
        </div>
      </form>
      {transfers.list.length > 0 && (
        <section className="stack-s">
          <h3>{strings.list}</h3>
          <ul className="transfers" aria-label={strings.list}>{transfers.list.map((one) => <Row key={one.id} transfer={one} transfers={transfers} />)}</ul>
        </section>
      )}
    </Dialog>
  );
}

function progressText({ state, progress, error }: Transfer): string {
  if (state === 'failed') return error ?? '';
  if (state === 'cancelled') return strings.cancelled;
  if (state === 'done') return `${strings.done}, ${bytes(progress.done)}`;
  if (progress.done === 0) return strings.starting;
  return progress.total ? strings.of(bytes(progress.done), bytes(progress.total)) : bytes(progress.done);
}

function Row({ transfer, transfers }: { transfer: Transfer; transfers: Transfers }) {
  const { id, way, name, path, state, progress } = transfer;
  const icon = state === 'failed' ? <IconError /> : state === 'done' ? <IconCheck /> : way === 'up' ? <IconUpload /> : <IconDownload />;
  return (
    <li className={`transfer transfer-${state}`}>
      {icon}
      <div className="grow">
        <div className="break">{way === 'up' ? `${name} ${strings.up} ${path}` : path}</div>
        {state === 'moving' && <progress aria-label={name} max={progress.total ?? undefined} value={progress.total ? progress.done : undefined} />}
        <div className="xs soft break" role={state === 'failed' ? 'alert' : undefined}>{progressText(transfer)}</div>
      </div>
      {(state === 'failed' || state === 'cancelled') && <IconButton size="small" icon={<IconRefresh />} label={`${ui.retry}: ${name}`} onClick={() => transfers.again(id)} />}
      {state === 'moving'
        ? <IconButton size="small" icon={<IconClose />} label={strings.cancel(name)} onClick={() => transfers.cancel(id)} />
        : <IconButton size="small" icon={<IconClose />} label={strings.remove(name)} onClick={() => transfers.remove(id)} />}
    </li>
  );
}
