import { useState } from 'react';
import { useAction } from '../../api';
import { removeRecord, useRecords } from '../../admin/api';
import type { Shown } from '../../admin/kinds';
import { useMay } from '../../app/session';
import { toast } from '../../app/toasts';
import { admin } from '../../strings/admin';
import { Badge, Button, ConfirmDialog, Empty, IconPlus, IconToken, Time, type Column } from '../../ui';
import { RecordList } from './list';
import { Chips, labelTexts } from './parts';
import { TokenDialog } from './token';

const words = admin.tokens;
const target = ({ spec: { host } }: Shown<'token'>) => (host ? (host.name ? words.host(host.name) : words.anyHost) : words.node);

export function TokensPage() {
  const tokens = useRecords('token', useMay('token', 'list'));
  const mayCreate = useMay('token', 'create');
  const mayDelete = useMay('token', 'delete');
  const [adding, add] = useState(false);
  const [ending, end] = useState<Shown<'token'>>();
  const columns: Column<Shown<'token'>>[] = [
    { key: 'target', title: words.target, phone: 'title', cell: (token) => <b className="piece">{target(token)}</b> },
    { key: 'labels', title: words.labels, cell: (token) => <Chips items={labelTexts(token.spec.host?.labels)} none={admin.none} /> },
    { key: 'expires', title: words.expires, cell: (token) => (token.metadata.expires && new Date(token.metadata.expires) < new Date() ? <Badge>{admin.locks.over}</Badge> : <Time at={token.metadata.expires} show="exact" />) },
    { key: 'name', title: admin.name, cell: (token) => <span className="mono xs soft break">{token.metadata.name}</span> },
    { key: 'actions', title: admin.actions, hideTitle: true, width: '104px', phone: 'bare', cell: (token) => <Button size="small" forbidden={mayDelete} onClick={() => end(token)}>{words.revoke}</Button> },
  ];
  return (
    <RecordList
      section="tokens" kind="token" records={tokens} columns={columns} words={(token) => [target(token), ...labelTexts(token.spec.host?.labels)].join(' ')} opens={false}
      actions={<Button look="primary" icon={<IconPlus />} forbidden={mayCreate} onClick={() => add(true)}>{words.add}</Button>}
      empty={<Empty icon={<IconToken size={32} />} title={words.empty}>{words.emptyHelp}</Empty>}
    >
      {adding && <TokenDialog onClose={() => add(false)} onDone={tokens.reload} />}
      {ending && <Revoke token={ending} onClose={() => end(undefined)} onDone={tokens.reload} />}
    </RecordList>
  );
}

function Revoke({ token, onClose, onDone }: { token: Shown<'token'>; onClose: () => void; onDone: () => void }) {
  const action = useAction(() => removeRecord('token', token.metadata.name, token.metadata.revision));
  const go = async () => {
    if (!(await action.run())) return;
    toast(words.revoked);
    onDone();
    onClose();
  };
  return (
    <ConfirmDialog open danger title={words.revokeTitle} verb={words.revoke} busy={action.busy} error={action.error} onClose={onClose} onConfirm={() => void go()}>
      <p>{words.revokeText}</p>
    </ConfirmDialog>
  );
}
