import { useEffect, useRef, useState } from 'react';
import type { FormEvent } from 'react';
import { api, call, useQuery } from '../../api';
import type { Schema } from '../../api';
import { hostOf, parseTarget } from '../../app/target';
import { usePref } from '../../lib/prefs';
import { hosts as hostStrings } from '../../strings/hosts';
import { terminal as strings } from '../../strings/terminal';
import { Button, IconHost, IconTerminal, Note, Presence, SearchField, Skeleton } from '../../ui';
import type { Wish } from '../../terminal/frames';
import type { Note as PaneNote } from '../../terminal/tabs';

type Host = Schema<'HostView'>;
type Props = { note?: PaneNote; active: boolean; before: Wish | null; onOpen: (wish: Wish) => void };

/** Where a session begins, and where its end leads back to. */
export function Picker({ note, active, before, onOpen }: Props) {
  const [text, setText] = useState('');
  const box = useRef<HTMLInputElement>(null);
  const [pinned] = usePref('pinned');
  const target = parseTarget(text);
  const search = text.includes('@') ? (text.split('@')[1] ?? '').split(':')[0]! : text;
  const list = useQuery(['picker', search], (signal) => call(api.GET('/v1/hosts', { params: { query: { search, limit: 30 } }, signal })), { keep: true });
  useEffect(() => {
    if (active) box.current?.focus();
  }, [active]);

  const open = (login: string, host: string) => onOpen({ login, host, session: '' });
  const hosts = [...(list.data?.items ?? [])].sort((a, b) => Number(pinned.includes(b.name)) - Number(pinned.includes(a.name)));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const first = hosts.find((host) => host.logins.length > 0);
    if (target) open(target.login, hostOf(target));
    else if (!text && before) open(before.login, before.host);
    else if (text && first) open(first.logins[0]!, first.name);
  };
  return (
    <div className="picker">
      <form className="picker-inside" onSubmit={submit}>
        <h1 className="picker-title">{strings.pickerTitle}</h1>
        {note && <Note tone={note.tone}>{note.text}</Note>}
        <SearchField ref={box} label={strings.pickerInput} value={text} onValue={setText} />
        {target && <Button type="submit" look="primary" icon={<IconTerminal />}>{strings.connect(`${target.login}@${hostOf(target)}`)}</Button>}
        {!text && before && <Button icon={<IconTerminal />} onClick={() => open(before.login, before.host)}>{`${strings.again}: ${before.login}@${before.host}`}</Button>}
        {list.error && <Note tone="bad">{list.error.message}</Note>}
        <HostList hosts={list.loading ? undefined : hosts} onOpen={open} />
        {list.data?.items.length === 0 && !target && <p className="soft picker-none"><IconHost /> {text ? strings.pickerNone : strings.pickerEmpty}</p>}
      </form>
    </div>
  );
}

const presence = (host: Host) => (host.online === true ? 'on' : host.online === false ? 'off' : 'unknown');
const said = { on: hostStrings.online, off: hostStrings.offline, unknown: hostStrings.unknown };

function HostList({ hosts, onOpen }: { hosts: Host[] | undefined; onOpen: (login: string, host: string) => void }) {
  if (!hosts) return <div>{[0, 1, 2, 3].map((n) => <Skeleton key={n} height="32px" />)}</div>;
  return (
    <ul className="picker-list" aria-label={strings.pickerHosts}>
      {hosts.map((host) => (
        <li key={host.name} className="picker-host">
          <Presence state={presence(host)} label={said[presence(host)]} />
          <span className="grow clip" title={host.addr}>{host.name}</span>
          <span className="picker-logins">
            {host.logins.slice(0, 4).map((login) => <Button key={login} size="small" aria-label={hostStrings.connectAs(login, host.name)} onClick={() => onOpen(login, host.name)}>{login}</Button>)}
          </span>
        </li>
      ))}
    </ul>
  );
}
