import { useEffect, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { api, call, usePages, useQuery } from '../../api';
import type { Schema } from '../../api';
import { useMay } from '../../app/session';
import { usePref } from '../../lib/prefs';
import { useUrlParams } from '../../lib/url';
import { hosts as strings } from '../../strings/hosts';
import { Button, Empty, IconHost, IconSearch, Note, Page, PageHeader, Table } from '../../ui';
import { ConnectBox } from './ConnectBox';
import { Filters } from './Filters';
import { hostColumns } from './columns';
import { hostQuery, labelsOf, withLabel } from './filters';
import './hosts.css';

type Host = Schema<'HostView'>;
const pageSize = 50;

export default function Hosts() {
  const [params, set] = useUrlParams();
  const [, go] = useLocation();
  const text = params.get('q') ?? '';
  const expression = params.get('query') ?? '';
  const labels = labelsOf(params);
  const asked = hostQuery(useSettled(text), labels, expression);
  const filtered = Boolean(asked.search || asked.query);
  const [pinned, setPinned] = usePref('pinned');

  const list = usePages(
    ['hosts', asked],
    (after, signal) => call(api.GET('/v1/hosts', { params: { query: { ...asked, after, limit: pageSize } }, signal })),
    { keep: true, poll: 10_000 },
  );
  const setLabel = (label: string, on: boolean) => go(`/hosts${withLabel(params, label, on)}`);
  const columns = hostColumns({
    labels,
    onLabel: (label) => setLabel(label, !labels.includes(label)),
    pinned: (name) => pinned.includes(name),
    onPin: (name) => setPinned(pinned.includes(name) ? pinned.filter((one) => one !== name) : [...pinned, name].slice(-20)),
  });
  const badQuery = list.error?.code === 'invalid' && expression ? list.error.message : undefined;

  return (
    <Page>
      <PageHeader title={strings.title} about={strings.about} actions={<ConnectBox />} />
      <Filters {...{ text, expression, labels, badQuery }} onText={(q) => set({ q })} onExpression={(query) => set({ query })} onLabel={setLabel} shown={list.data && strings.shown(list.data.length, list.more)} />
      {!filtered && pinned.length > 0 && <Pinned names={pinned} columns={columns} />}
      {!badQuery && (
        <Table
          label={strings.title} columns={columns} rows={list.data} rowKey={(host) => host.name} error={list.error} retry={list.reload} expect={8}
          empty={filtered ? <NoMatch onClear={() => go('/hosts')} /> : <None />} more={list.more} loadMore={list.loadMore} loadingMore={list.loadingMore}
        />
      )}
    </Page>
  );
}

/** Pinned hosts above all others. A pin whose host is gone or no longer reachable is passed over. */
function Pinned({ names, columns }: { names: string[]; columns: ReturnType<typeof hostColumns> }) {
  const list = useQuery(
    ['pinned', names],
    async (signal) => {
      const query = `contains(${JSON.stringify(names)}, resource.name)`;
      const page = await call(api.GET('/v1/hosts', { params: { query: { query } }, signal }));
      return names.flatMap((name) => page.items.filter((host) => host.name === name));
    },
    { keep: true, poll: 10_000 },
  );
  if (list.error) return <Note tone="bad">{list.error.message}</Note>;
  if (list.data?.length === 0) return null;
  return (
    <section className="stack-s">
      <h2 className="list-heading">{strings.pinned}</h2>
      <Table<Host> label={strings.pinned} columns={columns} rows={list.data} rowKey={(host) => host.name} expect={names.length} empty={null} />
      <h2 className="list-heading">{strings.all}</h2>
    </section>
  );
}

function NoMatch({ onClear }: { onClear: () => void }) {
  return <Empty icon={<IconSearch size={32} />} title={strings.noMatch} action={<Button onClick={onClear}>{strings.clearSearch}</Button>}>{strings.noMatchHelp}</Empty>;
}

function None() {
  const why = useMay('token', 'create');
  return (
    <Empty icon={<IconHost size={32} />} title={strings.none} action={why ? undefined : <Link href="/admin/tokens" className="btn btn-primary">{strings.noneAction}</Link>}>
      {why ? strings.noneNoRight : strings.noneHelp}
    </Empty>
  );
}

/** A text once nobody has typed for a moment: the server is not asked for every letter. */
function useSettled(text: string): string {
  const [settled, set] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => set(text), 150);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}
