import { useState } from 'react';
import { useLocation } from 'wouter';
import { useRecords } from '../../admin/api';
import { editPath, type Shown } from '../../admin/kinds';
import { useMay } from '../../app/session';
import { admin } from '../../strings/admin';
import { Button, Empty, IconButton, IconEdit, IconHost, IconMore, IconToken, IconTrash, Menu, Time, type Column } from '../../ui';
import { AddButton } from './add';
import { RecordList } from './list';
import { Chips, labelTexts, NameLink, RemoveDialog } from './parts';
import { TokenDialog } from './token';

const words = admin.hosts;

export function HostsPage() {
  const hosts = useRecords('host', useMay('host', 'list'));
  const mayDelete = useMay('host', 'delete');
  const mayToken = useMay('token', 'create');
  const [, go] = useLocation();
  const [removing, remove] = useState<Shown<'host'>>();
  const [joining, join] = useState(false);
  const columns: Column<Shown<'host'>>[] = [
    { key: 'name', title: admin.name, phone: 'title', width: '26%', cell: (host) => <NameLink section="hosts" record={host} /> },
    {
      key: 'addr', title: words.addr,
      cell: (host) => (host.spec.agent ? <span className="soft">{words.agent}, {words.joined} <Time at={host.spec.agent.joined} /></span> : <span className="mono small break">{host.spec.addr}</span>),
    },
    { key: 'labels', title: words.labels, cell: (host) => <Chips items={labelTexts(host.metadata.labels)} none={admin.none} /> },
    {
      key: 'actions', title: admin.actions, hideTitle: true, width: '56px', phone: 'bare',
      cell: (host) => (
        <Menu
          label={admin.actions}
          trigger={<IconButton size="small" icon={<IconMore />} label={admin.more(host.metadata.name)} />}
          items={[
            { key: 'edit', label: admin.edit, icon: <IconEdit />, onSelect: () => go(editPath('hosts', host.metadata.name)) },
            { key: 'remove', label: admin.remove, icon: <IconTrash />, danger: true, forbidden: mayDelete, onSelect: () => remove(host) },
          ]}
        />
      ),
    },
  ];
  return (
    <RecordList
      section="hosts" kind="host" records={hosts} columns={columns} words={(host) => [host.spec.addr ?? '', ...labelTexts(host.metadata.labels)].join(' ')}
      actions={<><AddButton kind="host" section="hosts" label={words.add} look="plain" /><Button look="primary" icon={<IconToken />} forbidden={mayToken} onClick={() => join(true)}>{words.addAgent}</Button></>}
      empty={<Empty icon={<IconHost size={32} />} title={words.empty}>{words.emptyHelp}</Empty>}
    >
      {removing && <RemoveDialog kind="host" one={admin.sections.hosts.one} record={removing} onClose={() => remove(undefined)} onDone={hosts.reload} />}
      {joining && <TokenDialog onClose={() => join(false)} onDone={() => undefined} />}
    </RecordList>
  );
}
