import { useState } from 'react';
import { useLocation } from 'wouter';
import { useRecords } from '../../admin/api';
import { editPath, type Shown } from '../../admin/kinds';
import { useMay } from '../../app/session';
import { admin } from '../../strings/admin';
import { Badge, Empty, IconButton, IconEdit, IconMore, IconRole, IconTrash, Menu, type Column } from '../../ui';
import { AddButton } from './add';
import { RecordList } from './list';
import { Chips, labelTexts, NameLink, RemoveDialog } from './parts';

const words = admin.roles;

function hosts(role: Shown<'role'>): string[] {
  const labels = role.spec.allow?.host_labels ?? {};
  const any = Object.entries(labels).some(([name, value]) => name === '*' && [value].flat().includes('*'));
  return any ? [words.anyHost] : labelTexts(labels);
}

export function RolesPage() {
  const roles = useRecords('role', useMay('role', 'list'));
  const mayDelete = useMay('role', 'delete');
  const [, go] = useLocation();
  const [removing, remove] = useState<Shown<'role'>>();
  const columns: Column<Shown<'role'>>[] = [
    { key: 'name', title: admin.name, phone: 'title', width: '28%', cell: (role) => <NameLink section="roles" record={role} /> },
    { key: 'logins', title: words.logins, cell: (role) => <Chips items={role.spec.allow?.logins ?? []} none={admin.none} /> },
    { key: 'labels', title: words.labels, cell: (role) => <span className="row-wrap"><Chips items={hosts(role)} none={words.noHost} />{role.spec.allow?.require_session_join?.length ? <Badge tone="info">{words.requires}</Badge> : null}</span> },
    {
      key: 'actions', title: admin.actions, hideTitle: true, width: '56px', phone: 'bare',
      cell: (role) => (
        <Menu
          label={admin.actions}
          trigger={<IconButton size="small" icon={<IconMore />} label={admin.more(role.metadata.name)} />}
          items={[
            { key: 'edit', label: admin.edit, icon: <IconEdit />, onSelect: () => go(editPath('roles', role.metadata.name)) },
            { key: 'remove', label: admin.remove, icon: <IconTrash />, danger: true, forbidden: mayDelete, onSelect: () => remove(role) },
          ]}
        />
      ),
    },
  ];
  return (
    <RecordList
      section="roles" kind="role" records={roles} columns={columns} words={(role) => [...(role.spec.allow?.logins ?? []), ...hosts(role)].join(' ')}
      actions={<AddButton kind="role" section="roles" label={words.add} />}
      empty={<Empty icon={<IconRole size={32} />} title={words.empty}>{words.emptyHelp}</Empty>}
    >
      {removing && <RemoveDialog kind="role" one={admin.sections.roles.one} record={removing} onClose={() => remove(undefined)} onDone={roles.reload} />}
    </RecordList>
  );
}
