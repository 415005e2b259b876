import { Link, useLocation } from 'wouter';
import { bytes, duration } from '../../lib/format';
import { useUrlParams } from '../../lib/url';
import { sessions as words } from '../../strings/sessions';
import { Badge, Empty, IconPlay, IconSearch, IconSession, Panel, SearchField, Table, Time, Tooltip, useNow, type Column } from '../../ui';
import { useMay } from '../../app/session';
import { completeness, fits, seconds, useJoined, useRecordings, type Recording } from './data';
import { Who } from './parts';

const href = (row: Recording) => `/recordings/${encodeURIComponent(row.session)}`;

export function Recordings() {
  const recordings = useRecordings();
  const joined = useJoined(recordings.data);
  const now = useNow();
  const [params, set] = useUrlParams();
  const [, go] = useLocation();
  const mayPlay = useMay('recording', 'read');
  const text = (params.get('q') ?? '').trim();
  const rows = text === '' ? recordings.data : recordings.data?.filter((row) => fits(row, text));
  const columns: Column<Recording>[] = [
    { key: 'who', title: words.who, phone: 'title', width: '30%', cell: (row) => <Who row={row} kind={row.session_kind} command={row.command} /> },
    { key: 'started', title: words.started, cell: (row) => <Time at={row.started} show="exact" /> },
    { key: 'duration', title: words.duration, align: 'right', cell: (row) => duration(seconds(row, now)) },
    { key: 'output', title: words.output, align: 'right', phone: 'hide', cell: (row) => (row.output_bytes ? bytes(row.output_bytes) : <span className="faint">–</span>) },
    { key: 'people', title: words.people, cell: (row) => [row.user, ...(joined.get(row.session) ?? [])].join(', ') },
    { key: 'state', title: words.state, cell: (row) => <State row={row} /> },
    { key: 'play', title: words.play, hideTitle: true, width: '64px', phone: 'bare', cell: (row) => <Play row={row} forbidden={mayPlay} /> },
  ];
  const empty = text === ''
    ? <Empty icon={<IconSession size={32} />} title={words.nothingEnded}>{words.nothingEndedHelp}</Empty>
    : <Empty icon={<IconSearch size={32} />} title={words.nothingFits}>{words.nothingFitsHelp}</Empty>;
  return (
    <Panel title={words.ended} flush actions={<div className="session-filter"><SearchField label={words.filter} value={params.get('q') ?? ''} onValue={(q) => set({ q })} /></div>}>
      <Table
        label={words.ended} columns={columns} rows={rows} rowKey={(row) => row.session} error={recordings.error} retry={recordings.reload} empty={empty}
        more={recordings.more} loadingMore={recordings.loadingMore} loadMore={recordings.loadMore} expect={8}
        onRow={mayPlay ? undefined : (row) => go(href(row))}
      />
    </Panel>
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
