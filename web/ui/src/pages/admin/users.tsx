import { useState } from 'react';
import { Link, useLocation } from 'wouter';
import { useRecords } from '../../admin/api';
import { editPath, type Shown } from '../../admin/kinds';
import { useMay } from '../../app/session';
import { useUrlParams } from '../../lib/url';
import { admin } from '../../strings/admin';
import { Badge, Empty, IconButton, IconEdit, IconLock, IconMore, IconTrash, IconUser, Menu, type Column } from '../../ui';
import { IconMail } from '../../ui/icons-more';
import { InviteDialog } from './invite';
import { RecordList } from './list';
import { LockDialog } from './lock';
import { Chips, NameLink, RemoveDialog } from './parts';
import { AddButton } from './add';

const words = admin.users;

type Open = { what: 'invite' | 'lock' | 'remove'; user: Shown<'user'> };

export function UsersPage() {
  const users = useRecords('user', useMay('user', 'list'));
  const locks = useRecords('lock', useMay('lock', 'list'));
  const [open, show] = useState<Open>();
  const [params, set] = useUrlParams();
  const now = new Date();
  const locked = new Set(locks.data?.filter((lock) => !lock.metadata.expires || new Date(lock.metadata.expires) > now).map((lock) => lock.spec.target.user));
  const invite = params.get('invite');
  const columns: Column<Shown<'user'>>[] = [
    { key: 'name', title: admin.name, phone: 'title', width: '28%', cell: (user) => <NameLink section="users" record={user} /> },
    { key: 'roles', title: words.roles, cell: (user) => <Chips items={user.spec.roles ?? []} none={words.noRoles} /> },
    { key: 'traits', title: words.traits, cell: (user) => <Chips items={Object.entries(user.spec.traits ?? {}).map(([name, values]) => words.traitOf(name, values.join(', ')))} none={admin.none} /> },
    { key: 'state', title: words.state, width: '96px', cell: (user) => (locked.has(user.metadata.name) ? <Link href={`/admin/locks?q=${encodeURIComponent(user.metadata.name)}`}><Badge tone="bad">{words.locked}</Badge></Link> : null) },
    { key: 'actions', title: admin.actions, hideTitle: true, width: '56px', phone: 'bare', cell: (user) => <Actions user={user} show={show} /> },
  ];
  const close = () => show(undefined);
  return (
    <RecordList
      section="users" kind="user" records={users} columns={columns} actions={<AddButton kind="user" section="users" label={words.add} />}
      words={(user) => [...(user.spec.roles ?? []), ...Object.values(user.spec.traits ?? {}).flat()].join(' ')}
      empty={<Empty icon={<IconUser size={32} />} title={words.empty}>{words.emptyHelp}</Empty>}
    >
      {open?.what === 'invite' && <InviteDialog user={open.user.metadata.name} onClose={close} />}
      {open?.what === 'lock' && <LockDialog on={{ kind: 'user', name: open.user.metadata.name }} onClose={close} onDone={locks.reload} />}
      {open?.what === 'remove' && <RemoveDialog kind="user" one={admin.sections.users.one} record={open.user} onClose={close} onDone={users.reload} />}
      {invite && <InviteDialog user={invite} onClose={() => set({ invite: undefined })} />}
    </RecordList>
  );
}

function Actions({ user, show }: { user: Shown<'user'>; show: (open: Open) => void }) {
  const [, go] = useLocation();
  const may = { invite: useMay('user', 'update'), lock: useMay('lock', 'create'), remove: useMay('user', 'delete') };
  const { name } = user.metadata;
  return (
    <Menu
      label={admin.actions}
      trigger={<IconButton size="small" icon={<IconMore />} label={admin.more(name)} />}
      items={[
        { key: 'edit', label: admin.edit, icon: <IconEdit />, onSelect: () => go(editPath('users', name)) },
        { key: 'invite', label: words.invite, icon: <IconMail />, forbidden: may.invite, onSelect: () => show({ what: 'invite', user }) },
        { key: 'lock', label: words.lock, icon: <IconLock />, forbidden: may.lock, onSelect: () => show({ what: 'lock', user }) },
        { key: 'line', line: true },
        { key: 'remove', label: admin.remove, icon: <IconTrash />, danger: true, forbidden: may.remove, onSelect: () => show({ what: 'remove', user }) },
      ]}
    />
  );
}

