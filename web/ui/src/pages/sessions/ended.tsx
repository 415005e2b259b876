import { Link, useLocation } from 'wouter';
import { bytes, duration } from '../../lib/format';
import { useUrlParams } from '../../lib/url';
import { sessions as words } from '../../strings/sessions';
import { Badge, Empty, IconPlay, IconSearch, IconSession, Panel, Segments, Table, Time, Tooltip, useNow, type Column } from '../../ui';
import { useMay } from '../../app/session';
import { completeness, isNarrowed, readFilter, seconds, useJoined, useRecordings, type Filter, type Recording } from './data';
import { Filters } from './filters';
import { Found } from './found';
import { People, Who } from './parts';

const href = (row: Recording) => `/recordings/${encodeURIComponent(row.session)}`;

/** Recordings: the list of them, or a search in what they show. */
export function Recordings() {
  const [params, set] = useUrlParams();
  const filter = readFilter(params);
  const inside = params.get('view') === 'inside';
  return (
    <Panel
      title={words.ended} flush
      actions={<Segments label={words.view} value={inside ? 'inside' : 'list'} onValue={(view) => set({ view: view === 'inside' ? view : undefined, find: undefined })} choices={[{ value: 'list', label: words.views.list }, { value: 'inside', label: words.views.inside }]} />}
    >
      <Filters filter={filter} inside={inside} change={(change) => set({ ...filter, ...change })} />
      {inside ? <Found text={(params.get('find') ?? '').trim()} filter={filter} onText={(find) => set({ find }, 'push')} /> : <List filter={filter} />}
    </Panel>
  );
}

function List({ filter }: { filter: Filter }) {
  const recordings = useRecordings(filter);
  const { joined, all } = useJoined(recordings.data);
  const now = useNow();
  const [, go] = useLocation();
  const mayPlay = useMay('recording', 'read');
  const people = (row: Recording) => [{ user: row.user, mode: 'owner' }, ...(joined.get(row.session) ?? [])];
  const columns: Column<Recording>[] = [
    { key: 'who', title: words.who, phone: 'title', width: '30%', cell: (row) => <Who row={row} kind={row.session_kind} command={row.command} /> },
    { key: 'started', title: words.started, cell: (row) => <Time at={row.started} show="exact" /> },
    { key: 'duration', title: words.duration, align: 'right', cell: (row) => duration(seconds(row, now)) },
    { key: 'output', title: words.output, align: 'right', phone: 'hide', cell: (row) => (row.output_bytes ? bytes(row.output_bytes) : <span className="faint">–</span>) },
    { key: 'people', title: words.people, cell: (row) => <span className="row-wrap"><People people={people(row)} />{all || row.session_kind !== 'interactive' ? null : <span className="faint" title={words.peopleUnknown}>…</span>}</span> },
    { key: 'state', title: words.state, cell: (row) => <State row={row} /> },
    { key: 'play', title: words.play, hideTitle: true, width: '64px', phone: 'bare', cell: (row) => <Play row={row} forbidden={mayPlay} /> },
  ];
  const empty = isNarrowed(filter)
    ? <Empty icon={<IconSearch size={32} />} title={words.nothingFits}>{words.nothingFitsHelp}</Empty>
    : <Empty icon={<IconSession size={32} />} title={words.nothingEnded}>{words.nothingEndedHelp}</Empty>;
  return (
    <Table
      label={words.ended} columns={columns} rows={recordings.data} rowKey={(row) => row.session} error={recordings.error} retry={recordings.reload} empty={empty}
      more={recordings.more} loadingMore={recordings.loadingMore} loadMore={recordings.loadMore} expect={8}
      onRow={mayPlay ? undefined : (row) => go(href(row))}
    />
  );
}

function State({ row }: { row: Recording }) {
  const { tone, label, why } = completeness(row);
  const badge = <Badge tone={tone} dot={tone === 'info'}>{label}</Badge>;
  return why === undefined ? badge : <Tooltip text={why}><button type="button" className="plain-button" aria-label={`${label}: ${why}`}>{badge}</button></Tooltip>;
}

function Play({ row, forbidden }: { row: Recording; forbidden: string | undefined }) {
  const label = words.playLabel(words.whoAt(row.user, row.login, row.host));
  if (forbidden) return <Tooltip text={forbidden}><span className="btn btn-quiet btn-small btn-icon" role="img" aria-label={forbidden}><IconPlay className="faint" /></span></Tooltip>;
  return <Link className="btn btn-quiet btn-small btn-icon" href={href(row)} aria-label={label}><IconPlay /></Link>;
}
