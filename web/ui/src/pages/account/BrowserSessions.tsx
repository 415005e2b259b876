import { json, useAction, useQuery } from '../../api';
import type { WebSessionRow } from '../../api';
import { toast } from '../../app/toasts';
import { account as strings } from '../../strings/account';
import { Badge, Button, Empty, Note, Panel, Table, Time } from '../../ui';
import type { Column } from '../../ui';

export function BrowserSessions() {
  const list = useQuery('web-sessions', (signal) => json<{ items: WebSessionRow[] }>('GET', '/v1/web/sessions', { signal }), { poll: 30_000 });
  const { run, busy, error } = useAction((id: string) => json('DELETE', `/v1/web/sessions/${encodeURIComponent(id)}`));
  const end = async (id: string) => {
    if (!(await run(id))) return;
    toast(strings.ended);
    list.reload();
  };
  const columns: Column<WebSessionRow>[] = [
    { key: 'agent', title: strings.browser, phone: 'title', cell: (row) => <span className="row-wrap">{row.agent}{row.current && <Badge tone="info">{strings.current}</Badge>}</span> },
    { key: 'addr', title: strings.addr, cell: (row) => <code>{row.addr}</code> },
    { key: 'created', title: strings.since, cell: (row) => <Time at={row.created} /> },
    { key: 'seen', title: strings.seen, cell: (row) => <Time at={row.seen} /> },
    { key: 'ends', title: strings.ends, cell: (row) => <Time at={row.expires} /> },
    {
      key: 'end', title: strings.end, hideTitle: true, align: 'right', width: '96px',
      cell: (row) => (
        <Button size="small" busy={busy} forbidden={row.current ? strings.useSignOut : undefined} aria-label={strings.endLabel(row.agent, row.addr)} onClick={() => void end(row.id)}>
          {strings.end}
        </Button>
      ),
    },
  ];
  return (
    <Panel title={strings.sessions} about={strings.sessionsAbout} flush>
      {error && <Note tone="bad">{error.message}</Note>}
      <Table label={strings.sessions} columns={columns} rows={list.data?.items} rowKey={(row) => row.id} error={list.error} retry={list.reload} expect={2} empty={<Empty title={strings.noSessions} />} />
    </Panel>
  );
}
