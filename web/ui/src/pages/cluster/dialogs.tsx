import { api, call, useAction } from '../../api';
import { toast } from '../../app/toasts';
import { cluster as strings } from '../../strings/cluster';
import { ConfirmDialog, Note } from '../../ui';
import { toleranceWithout } from './judge';
import type { NodeStatus } from './judge';

type Props = { onClose: () => void; onDone: () => void };

export function TransferDialog({ to, onClose, onDone }: Props & { to?: string }) {
  const { run, busy, error } = useAction(() => call(api.POST('/v1/cluster/transfer', { body: to ? { to } : {} })));
  const confirm = async () => {
    if (!(await run())) return;
    toast(strings.transferDone);
    onDone();
    onClose();
  };
  return <ConfirmDialog open title={to ? strings.transferTitleTo(to) : strings.transferTitle} about={strings.transferAbout} verb={strings.transferVerb} busy={busy} error={error} onClose={onClose} onConfirm={() => void confirm()} />;
}

export function RemoveDialog({ node, nodes, onClose, onDone }: Props & { node: NodeStatus; nodes: NodeStatus[] }) {
  const { run, busy, error } = useAction(() => call(api.DELETE('/v1/cluster/nodes/{name}', { params: { path: { name: node.name } } })));
  const left = toleranceWithout(nodes, node.name);
  const confirm = async () => {
    if (!(await run())) return;
    toast(strings.removed(node.name));
    onDone();
    onClose();
  };
  return (
    <ConfirmDialog
      open danger title={strings.removeTitle(node.name)} about={strings.removeAbout} verb={strings.removeVerb} word={node.name} wordLabel={strings.removeWord(node.name)}
      busy={busy} error={error} onClose={onClose} onConfirm={() => void confirm()}
    >
      <Note tone={left === 0 ? 'warn' : 'plain'}>{strings.removeFewer(left)}</Note>
    </ConfirmDialog>
  );
}
