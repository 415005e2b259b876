import { useState } from 'react';
import { useAction } from '../../api';
import { removeRecord, useRecords } from '../../admin/api';
import { lockTarget, type Shown } from '../../admin/kinds';
import { useMay } from '../../app/session';
import { toast } from '../../app/toasts';
import { admin } from '../../strings/admin';
import { Badge, Button, ConfirmDialog, Empty, IconLock, Time, type Column } from '../../ui';
import { RecordList } from './list';
import { LockDialog } from './lock';

const words = admin.locks;
const shown = (lock: Shown<'lock'>) => lockTarget(lock.spec.target);

export function LocksPage() {
  const locks = useRecords('lock', useMay('lock', 'list'));
  const mayCreate = useMay('lock', 'create');
  const mayDelete = useMay('lock', 'delete');
  const [adding, add] = useState(false);
  const [ending, end] = useState<Shown<'lock'>>();
  const columns: Column<Shown<'lock'>>[] = [
    { key: 'target', title: words.target, phone: 'title', cell: (lock) => <b className="piece">{shown(lock)}</b> },
    { key: 'why', title: words.why, cell: (lock) => <span className="break">{lock.spec.message || admin.none}</span> },
    { key: 'until', title: words.until, cell: (lock) => <Until lock={lock} /> },
    { key: 'name', title: admin.name, phone: 'hide', cell: (lock) => <span className="mono xs soft break">{lock.metadata.name}</span> },
    { key: 'actions', title: admin.actions, hideTitle: true, width: '104px', phone: 'bare', cell: (lock) => <Button size="small" forbidden={mayDelete} onClick={() => end(lock)}>{words.unlock}</Button> },
  ];
  return (
    <RecordList
      section="locks" kind="lock" records={locks} columns={columns} words={(lock) => `${shown(lock)} ${lock.spec.message ?? ''}`} opens={false}
      actions={<Button look="primary" icon={<IconLock />} forbidden={mayCreate} onClick={() => add(true)}>{words.add}</Button>}
      empty={<Empty icon={<IconLock size={32} />} title={words.empty}>{words.emptyHelp}</Empty>}
    >
      {adding && <LockDialog onClose={() => add(false)} onDone={locks.reload} />}
      {ending && <Unlock lock={ending} onClose={() => end(undefined)} onDone={locks.reload} />}
    </RecordList>
  );
}

function Until({ lock }: { lock: Shown<'lock'> }) {
  const { expires } = lock.metadata;
  if (!expires) return <span className="soft">{words.forever}</span>;
  return new Date(expires) < new Date() ? <Badge>{words.over}</Badge> : <Time at={expires} show="exact" />;
}

function Unlock({ lock, onClose, onDone }: { lock: Shown<'lock'>; onClose: () => void; onDone: () => void }) {
  const action = useAction(() => removeRecord('lock', lock.metadata.name, lock.metadata.revision));
  const go = async () => {
    if (!(await action.run())) return;
    toast(words.done);
    onDone();
    onClose();
  };
  return (
    <ConfirmDialog open title={words.unlockTitle} verb={words.unlock} busy={action.busy} error={action.error} onClose={onClose} onConfirm={() => void go()}>
      <p>{words.unlockText(shown(lock))}</p>
    </ConfirmDialog>
  );
}
