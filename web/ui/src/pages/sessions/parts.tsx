import { sessions as words } from '../../strings/sessions';
import { Chip, IconExec, IconFile, IconLink, IconTerminal, Tooltip } from '../../ui';
import type { Participant } from './data';

const icons = { interactive: IconTerminal, exec: IconExec, sftp: IconFile, forward: IconLink } as Record<string, typeof IconTerminal>;

export function KindIcon({ kind }: { kind: string }) {
  const Icon = icons[kind] ?? IconTerminal;
  return (
    <Tooltip text={words.kinds[kind] ?? kind}>
      <span role="img" aria-label={words.kinds[kind] ?? kind} className="faint"><Icon /></span>
    </Tooltip>
  );
}

/** Whose session, as whom, and where: in two lines. */
export function Who({ row, kind, command }: { row: { user: string; login: string; host: string }; kind: string; command?: string }) {
  return (
    <span className="row session-who">
      <KindIcon kind={kind} />
      <span className="grow">
        <span className="session-target break">{words.target(row.login, row.host)}</span>
        <span className="session-user soft small clip">{row.user}{command ? <> · <code>{command}</code></> : null}</span>
      </span>
    </span>
  );
}

/** Who is, or was, in a session; of all but its owner, as what. */
export function People({ people }: { people: readonly Participant[] }) {
  return (
    <span className="row-wrap">
      {people.map(({ user, mode }) => <Chip key={`${user} ${mode}`} title={words.modes[mode] ?? mode}>{mode === 'owner' || mode === '' ? user : `${user} · ${words.modes[mode] ?? mode}`}</Chip>)}
    </span>
  );
}
