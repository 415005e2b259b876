import { isWarning } from '../../audit/kinds';
import { EventIcon, Pieces } from '../../audit/parts';
import { useMayAudit } from '../../audit/may';
import { sentence, type AuditItem } from '../../audit/sentence';
import { urlOf } from '../../api';
import { exact } from '../../lib/format';
import { useUrlParams } from '../../lib/url';
import { audit as words } from '../../strings/audit';
import { Button, Empty, IconAudit, IconDown, IconDownload, Menu, Note, Page, PageHeader, Table, type Column } from '../../ui';
import { Chain } from './chain';
import { useEvents } from './data';
import { Details, show } from './details';
import { Filters, useFilter } from './filters';
import './audit.css';

export default function AuditPage() {
  const refused = useMayAudit();
  return (
    <Page wide>
      {refused ? <><PageHeader title={words.title} about={words.lead} /><Note tone="plain">{refused}</Note></> : <AuditLog />}
    </Page>
  );
}

function download(url: string): void {
  const link = document.createElement('a');
  link.href = url;
  link.download = '';
  link.click();
}

function AuditLog() {
  const [filter, change] = useFilter();
  const [params, set] = useUrlParams();
  const live = params.get('live') !== '0';
  const events = useEvents(filter, live);
  const asked = params.get('e');
  const open = asked === null ? undefined : events.data?.find((item) => String(item.seq) === asked);
  const columns: Column<AuditItem>[] = [
    { key: 'what', title: words.what, phone: 'bare', cell: (item) => <What item={item} onOpen={() => set({ e: String(item.seq) })} /> },
    { key: 'code', title: words.type, width: '200px', phone: 'hide', cell: (item) => <code className={`xs ${isWarning(item.code) ? 'audit-warning' : 'soft'}`}>{item.event.event}</code> },
    { key: 'time', title: words.time, width: '176px', phone: 'bare', cell: (item) => <time className="small soft nowrap audit-time" dateTime={item.event.time} title={exact(new Date(item.event.time), true)}>{show(item.event.time)}</time> },
  ];
  const url = (format: string) => urlOf('/v1/audit/download', { ...events.search, format });
  const count = events.data?.length ?? 0;
  return (
    <>
      <PageHeader
        title={words.title}
        about={words.lead}
        actions={
          <>
            <Button look={live && events.running ? 'plain' : 'quiet'} aria-pressed={live} onClick={() => set({ live: live ? '0' : undefined })} title={events.running || !live ? words.liveOn : words.paused}>
              <span className="row"><span className={`live-dot${events.running ? ' live-dot-on' : ''}`} aria-hidden="true" />{words.live}</span>
            </Button>
            <Menu
              label={words.exported}
              trigger={<Button icon={<IconDownload />}><span className="row">{words.exported}<IconDown size={12} /></span></Button>}
              items={[
                { key: 'jsonl', label: words.jsonl, onSelect: () => download(url('jsonl')) },
                { key: 'csv', label: words.csv, onSelect: () => download(url('csv')) },
                { key: 'line', line: true },
                { key: 'whole', label: words.whole, hint: words.wholeHint, onSelect: () => download('/v1/audit/export') },
              ]}
            />
          </>
        }
      />
      <Filters filter={filter} change={change} />
      <div className="row-wrap audit-state">
        <span className="small soft" role="status">{events.data ? words.found(count, events.more) : ''}</span>
        <span className="grow" />
        <Chain />
      </div>
      {asked !== null && events.data && open === undefined && <Note tone="plain">{words.notInRange}</Note>}
      <Table
        label={words.title} columns={columns} rows={events.data} rowKey={(item) => String(item.seq)} error={events.error} retry={events.reload} expect={12}
        empty={<Empty icon={<IconAudit size={32} />} title={words.empty}>{words.emptyHelp}</Empty>}
        onRow={(item) => set({ e: String(item.seq) })} selected={(item) => item === open}
        more={events.more} loadingMore={events.loadingMore} loadMore={events.loadMore}
      />
      {open && <Details item={open} onClose={() => set({ e: undefined })} narrow={(part) => change(part)} />}
    </>
  );
}

function What({ item, onOpen }: { item: AuditItem; onOpen: () => void }) {
  return (
    <button type="button" className="what" onClick={onOpen}>
      <EventIcon item={item} />
      <span className="grow break"><Pieces pieces={sentence(item.event, show)} /></span>
    </button>
  );
}
