import type { Schema } from '../../api';
import { openTerminal, terminalUrl } from '../../app/target';
import { hosts as strings } from '../../strings/hosts';
import { Chip, IconButton, IconDown, IconStar, IconStarFull, Menu, Presence, Tooltip } from '../../ui';
import type { Column } from '../../ui';
import { labelText } from './filters';

type Host = Schema<'HostView'>;
type Props = { labels: string[]; onLabel: (label: string) => void; pinned: (name: string) => boolean; onPin: (name: string) => void };

const presence = { on: strings.online, off: strings.offline, unknown: strings.unknown };

export function hostColumns({ labels, onLabel, pinned, onPin }: Props): Column<Host>[] {
  return [
    {
      key: 'name', title: strings.name, phone: 'title', width: '26%',
      cell: (host) => {
        const state = host.online === true ? 'on' : host.online === false ? 'off' : 'unknown';
        const pin = pinned(host.name);
        return (
          <span className="host-name">
            <Presence state={state} label={presence[state]} />
            <span className="grow break">{host.name}</span>
            <IconButton size="small" className={pin ? 'pin pin-on' : 'pin'} icon={pin ? <IconStarFull size={14} /> : <IconStar size={14} />} label={pin ? strings.unpin(host.name) : strings.pin(host.name)} aria-pressed={pin} onClick={() => onPin(host.name)} />
          </span>
        );
      },
    },
    { key: 'addr', title: strings.addr, width: '20%', phone: 'hide', cell: (host) => <code className="soft">{host.addr}</code> },
    {
      key: 'labels', title: strings.labels, phone: 'bare',
      cell: (host) => (
        <span className="chips">
          {Object.entries(host.labels).map(([name, value]) => {
            const label = labelText({ name, value });
            return <Chip key={name} active={labels.includes(label)} title={strings.filterBy(label)} onClick={() => onLabel(label)}>{label}</Chip>;
          })}
        </span>
      ),
    },
    { key: 'connect', title: strings.actions, align: 'right', width: '26%', phone: 'bare', cell: (host) => <Logins host={host} /> },
  ];
}

const inSight = 2;

/** The first logins as buttons, the others in a menu. They are links: the middle button and "copy address" work. */
function Logins({ host }: { host: Host }) {
  if (host.logins.length === 0) return <Tooltip text={strings.noLoginWhy}><span className="faint small">{strings.noLogin}</span></Tooltip>;
  const rest = host.logins.slice(inSight);
  return (
    <span className="logins">
      {host.logins.slice(0, inSight).map((login) => (
        <a key={login} className="btn btn-plain btn-small" href={terminalUrl(login, host.name)} target="_blank" rel="noopener" aria-label={strings.connectAs(login, host.name)}>
          <span className="clip">{login}</span>
        </a>
      ))}
      {rest.length > 0 && (
        <Menu
          label={strings.actions}
          trigger={<IconButton size="small" look="plain" icon={<IconDown size={12} />} label={strings.moreLogins(host.name)} />}
          items={rest.map((login) => ({ key: login, label: login, onSelect: () => openTerminal(login, host.name) }))}
        />
      )}
    </span>
  );
}
