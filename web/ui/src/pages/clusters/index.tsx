import { Link } from 'wouter';
import { api, call, useQuery } from '../../api';
import { useSession } from '../../app/session';
import { useUrlParams } from '../../lib/url';
import { clusters as strings } from '../../strings/hosts';
import { Badge, Empty, IconSearch, Note, Page, PageHeader, SearchField, Table } from '../../ui';
import type { Column } from '../../ui';
import { health, healthTone, matches } from './health';
import type { Health } from './health';

type Row = { name: string; url: string; version: string; health?: Health; nodes?: string; agents?: number };

export default function Clusters() {
  const session = useSession();
  const [params, set] = useUrlParams();
  const q = params.get('q') ?? '';
  const status = useQuery('cluster', (signal) => call(api.GET('/v1/cluster/status', { signal })), { poll: 10_000 });
  const { data } = status;
  const root: Row = {
    name: session.cluster,
    url: location.origin,
    version: data?.version ?? session.version,
    ...(data && {
      health: health(data),
      nodes: strings.nodesAnswer(data.nodes.filter((node) => node.reachable).length, data.nodes.length),
      agents: data.nodes.reduce((sum, node) => sum + (node.vitals?.agents ?? 0), 0),
    }),
  };
  // Whoever may not read the status still sees the cluster that they are signed in to.
  const rows = status.loading ? undefined : [root].filter((row) => matches(q, [row.name, row.url, row.version, strings.root]));
  const columns: Column<Row>[] = [
    { key: 'name', title: strings.name, phone: 'title', cell: (row) => <Link href="/cluster" aria-label={strings.open(row.name)}>{row.name}</Link> },
    { key: 'kind', title: strings.kind, cell: () => <Badge>{strings.root}</Badge> },
    { key: 'health', title: strings.health, cell: (row) => (row.health ? <Badge dot tone={healthTone[row.health]}>{strings[row.health]}</Badge> : <span className="faint">{strings.unknown}</span>) },
    { key: 'version', title: strings.version, cell: (row) => row.version },
    { key: 'nodes', title: strings.nodes, cell: (row) => row.nodes ?? '–' },
    { key: 'agents', title: strings.agents, cell: (row) => row.agents ?? '–' },
    { key: 'url', title: strings.url, cell: (row) => <a href={row.url}>{row.url}</a> },
  ];
  return (
    <Page>
      <PageHeader title={strings.title} about={strings.about} />
      <search className="filters"><SearchField label={strings.search} value={q} onValue={(text) => set({ q: text })} /></search>
      {status.error && <Note tone={status.error.status === 403 ? 'plain' : 'bad'}>{status.error.message}</Note>}
      <Table label={strings.title} columns={columns} rows={rows} rowKey={(row) => row.name} expect={1} empty={<Empty icon={<IconSearch size={32} />} title={strings.noMatch}>{strings.noMatchHelp}</Empty>} />
    </Page>
  );
}
