import { useState } from 'react';
import { api, call, useQuery } from '../../api';
import { useMay, useSession } from '../../app/session';
import { count } from '../../lib/format';
import { cluster as strings } from '../../strings/cluster';
import { Badge, Button, CopyButton, Facts, Failed, Note, Page, PageHeader, Panel, Skeleton, Ticks } from '../../ui';
import { Authorities } from './Authorities';
import { canLead, skew } from './judge';
import type { Status } from './judge';
import { Nodes } from './Nodes';
import { TransferDialog } from './dialogs';
import './cluster.css';

export default function Cluster() {
  const { cluster } = useSession();
  const status = useQuery('cluster-status', (signal) => call(api.GET('/v1/cluster/status', { signal })), { poll: 3_000 });
  const mayTransfer = useMay('node', 'update');
  const [handing, setHanding] = useState(false);
  const { data } = status;
  const nobody = data && !data.nodes.some(canLead) ? strings.transferNone : undefined;
  return (
    <Page>
      <PageHeader title={strings.title} about={strings.about(cluster)} actions={<Button forbidden={mayTransfer ?? nobody} onClick={() => setHanding(true)}>{strings.transfer}</Button>} />
      {status.error && <Failed error={status.error} retry={status.reload} />}
      {data ? <Overview status={data} /> : !status.error && <Panel><Skeleton lines={3} height="16px" /></Panel>}
      {data && <Wants status={data} />}
      <Nodes status={data} failed={Boolean(status.error)} reload={status.reload} />
      <Authorities ends={data?.certificates ?? []} />
      {data && <Details status={data} />}
      {handing && data && <TransferDialog onClose={() => setHanding(false)} onDone={status.reload} />}
    </Page>
  );
}

function Overview({ status }: { status: Status }) {
  const leader = status.nodes.find((node) => node.id === status.leader);
  const here = status.nodes.find((node) => node.id === status.node);
  const sum = (what: 'sessions' | 'agents') => count(status.nodes.reduce((all, node) => all + (node.vitals?.[what] ?? 0), 0));
  const mixed = skew(status.nodes);
  const { failure_tolerance: may } = status;
  return (
    <Panel>
      <Facts
        items={[
          [strings.quorum, status.quorum ? <Badge key="q" tone="ok" dot>{strings.hasQuorum}</Badge> : <Badge key="q" tone="bad" dot>{strings.noQuorum}</Badge>],
          [strings.tolerance, <Badge key="t" tone={may === 0 ? 'warn' : 'ok'} title={may === 0 ? strings.toleranceNone : undefined}>{strings.toleranceText(may)}</Badge>],
          [strings.leader, leader?.name ?? strings.noLeader],
          [strings.versionOne, mixed ? <Badge key="v" tone="bad">{strings.versionsMixed}</Badge> : status.version],
          [strings.sessions, sum('sessions')],
          [strings.agents, sum('agents')],
        ]}
      />
      {here && <p className="xs faint cluster-seen">{strings.asSeen(here.name)}</p>}
    </Panel>
  );
}

/** What to do: the first of the node's advice, the others, and what must not be overlooked. */
function Wants({ status }: { status: Status }) {
  const [first, ...others] = status.advice.map(sentence);
  const mixed = skew(status.nodes);
  // The node says it among its advice as well; here it is said in red, and once.
  const also = others.filter((text) => !(mixed && /^nodes run different versions/i.test(text)));
  return (
    <section className="stack-s" aria-live="polite">
      <Note tone={first ? (status.quorum ? 'warn' : 'bad') : 'ok'} title={strings.next}><Ticks text={first ?? strings.nextNone} /></Note>
      {mixed && <Note tone="bad" title={strings.skewTitle(mixed.list)}>{strings.skew(mixed.newest)}</Note>}
      {also.length > 0 && (
        <Note tone="plain" title={strings.alerts}>
          <ul className="advice">{also.map((text) => <li key={text}><Ticks text={text} /></li>)}</ul>
        </Note>
      )}
    </section>
  );
}

const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');

function Details({ status }: { status: Status }) {
  return (
    <Panel title={strings.details}>
      <Facts
        items={[
          [strings.id, <code key="i">{status.cluster_id}</code>],
          [strings.pin, <span key="p" className="row"><code className="clip" title={status.ca_pin}>{status.ca_pin}</code><CopyButton text={status.ca_pin} label={strings.copyPin} /></span>],
          [strings.term, count(status.term)],
          [strings.applied, strings.appliedOf(count(status.applied_index), count(status.last_index))],
        ]}
      />
    </Panel>
  );
}
