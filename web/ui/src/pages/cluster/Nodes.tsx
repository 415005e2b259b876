import { useState } from 'react';
import type { ReactNode } from 'react';
import { useMay } from '../../app/session';
import { bytes, count, duration } from '../../lib/format';
import { cluster as strings } from '../../strings/cluster';
import { Badge, Empty, IconButton, IconMore, IconNodes, IconTrash, Menu, Panel, Presence, Table } from '../../ui';
import type { Column, Tone } from '../../ui';
import { RemoveDialog, TransferDialog } from './dialogs';
import { canLead, certTone, diskTone, lagTone, skew, soonest } from './judge';
import type { NodeStatus, Status } from './judge';

type Asked = { what: 'lead' | 'remove'; node: NodeStatus };

export function Nodes({ status, failed, reload }: { status: Status | undefined; failed: boolean; reload: () => void }) {
  const [asked, setAsked] = useState<Asked>();
  const mayLead = useMay('node', 'update');
  const mayRemove = useMay('node', 'delete');
  const nodes = status?.nodes;
  const behind = new Set(nodes ? skew(nodes)?.behind : []);
  const close = () => setAsked(undefined);
  if (failed && !status) return null;

  const columns: Column<NodeStatus>[] = [
    { key: 'name', title: strings.node, phone: 'title', cell: (node) => <Name node={node} /> },
    { key: 'role', title: strings.role, cell: (node) => <Role node={node} /> },
    { key: 'lag', title: strings.lag, align: 'right', cell: (node) => (node.lag == null ? '–' : <Toned tone={lagTone(node.lag)}>{count(node.lag)}</Toned>) },
    { key: 'disk', title: strings.disk, cell: (node) => <Disk node={node} /> },
    { key: 'version', title: strings.version, cell: (node) => (node.vitals ? <Toned tone={behind.has(node.name) ? 'bad' : 'plain'}>{node.vitals.version}</Toned> : '–') },
    { key: 'certificates', title: strings.certificates, cell: (node) => <Certificate node={node} /> },
    { key: 'load', title: strings.load, cell: (node) => (node.vitals ? <TwoLines first={strings.loadText(node.vitals.sessions, node.vitals.agents)} second={strings.uptime(duration(node.vitals.uptime_secs))} /> : '–') },
    {
      key: 'actions', title: strings.actions(''), hideTitle: true, width: '56px', align: 'right',
      cell: (node) => (
        <Menu
          label={strings.actions(node.name)}
          trigger={<IconButton size="small" icon={<IconMore />} label={strings.actions(node.name)} />}
          items={[
            { key: 'lead', label: strings.makeLeader, icon: <IconNodes />, forbidden: mayLead ?? (node.role === 'leader' ? strings.isLeader : canLead(node) ? undefined : strings.cannotLead), onSelect: () => setAsked({ what: 'lead', node }) },
            { key: 'remove', label: strings.remove, icon: <IconTrash />, danger: true, forbidden: mayRemove ?? (nodes?.length === 1 ? strings.lastNode : node.role === 'leader' ? strings.leaderStays : undefined), onSelect: () => setAsked({ what: 'remove', node }) },
          ]}
        />
      ),
    },
  ];
  const empty = <Empty icon={<IconNodes size={32} />} title={strings.noNodes}>{strings.noNodesHelp}</Empty>;
  return (
    <Panel title={strings.nodes} flush>
      <Table label={strings.nodes} columns={columns} rows={nodes} rowKey={(node) => node.name} expect={3} empty={empty} rowTone={(node) => (node.reachable ? undefined : 'bad')} />
      {asked?.what === 'lead' && <TransferDialog to={asked.node.name} onClose={close} onDone={reload} />}
      {asked?.what === 'remove' && nodes && <RemoveDialog node={asked.node} nodes={nodes} onClose={close} onDone={reload} />}
    </Panel>
  );
}

function Toned({ tone, children }: { tone: Tone; children: string }) {
  return tone === 'plain' ? <span className="nowrap">{children}</span> : <Badge tone={tone}>{children}</Badge>;
}

function TwoLines({ first, second }: { first: ReactNode; second: ReactNode }) {
  return <span className="two-lines"><span>{first}</span><span className="xs faint">{second}</span></span>;
}

function Name({ node }: { node: NodeStatus }) {
  const silent = node.silent_ms ?? node.last_contact_ms;
  const state = node.reachable ? strings.answers : silent == null ? strings.silent : strings.silentFor(duration(silent / 1000));
  return (
    <span className="row">
      <Presence state={node.reachable ? 'on' : 'off'} label={state} />
      <TwoLines first={<strong>{node.name}</strong>} second={node.removed_in_secs != null ? strings.removedIn(duration(node.removed_in_secs)) : node.web_addr.replace(/^https:\/\//, '')} />
    </span>
  );
}

function Role({ node }: { node: NodeStatus }) {
  if (!node.reachable) return <Badge tone="bad">{strings.silentFor(duration((node.silent_ms ?? node.last_contact_ms ?? 0) / 1000))}</Badge>;
  return <Badge tone={node.role === 'leader' ? 'info' : node.voter ? 'plain' : 'warn'}>{strings.roles[node.role] ?? node.role}</Badge>;
}

function Disk({ node: { vitals } }: { node: NodeStatus }) {
  if (!vitals) return <>–</>;
  const tone = diskTone(vitals.disk_free_bytes, vitals.disk_size_bytes);
  return <TwoLines first={<Toned tone={tone}>{bytes(vitals.disk_free_bytes)}</Toned>} second={`${strings.diskOf('', bytes(vitals.disk_size_bytes)).trim()}, ${strings.sync((vitals.fsync_p99_us / 1000).toFixed(1))}`} />;
}

function Certificate({ node }: { node: NodeStatus }) {
  const first = soonest(node);
  if (!first) return <>–</>;
  const title = (node.vitals?.certificates ?? []).map((one) => strings.certTitle(one.what, one.days_left)).join('\n');
  const text = first.days_left <= 0 ? strings.certEnded : strings.certDays(first.days_left);
  return <span title={title}><TwoLines first={<Toned tone={certTone(first.what, first.days_left)}>{text}</Toned>} second={first.what} /></span>;
}
