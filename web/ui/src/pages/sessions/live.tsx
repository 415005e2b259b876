import { useState } from 'react';
import { Link } from 'wouter';
import { json, useAction } from '../../api';
import { useMay, useSession } from '../../app/session';
import { toast } from '../../app/toasts';
import { duration } from '../../lib/format';
import { sessions as words } from '../../strings/sessions';
import { Badge, Button, ConfirmDialog, Empty, IconDown, IconEye, IconPlay, IconSession, Menu, Panel, Table, useNow, type Column, type MenuItem } from '../../ui';
import { joinUrl, useLive, useNodeNames, type Live } from './data';
import { KindIcon, People, Who } from './parts';

export function LiveSessions() {
  const live = useLive();
  const node = useNodeNames();
  const now = useNow();
  const me = useSession().user;
  const [ending, end] = useState<Live>();
  const columns: Column<Live>[] = [
    { key: 'who', title: words.who, phone: 'title', width: '26%', cell: (row) => <Who row={row} kind={row.kind} /> },
    { key: 'kind', title: words.kind, cell: (row) => words.kinds[row.kind] ?? row.kind, phone: 'hide' },
    { key: 'since', title: words.since, cell: (row) => duration((now.getTime() - new Date(row.started).getTime()) / 1000) },
    { key: 'from', title: words.from, cell: (row) => <span className="mono small break">{row.client_addr}</span> },
    { key: 'node', title: words.node, cell: (row) => node(row.node) },
    { key: 'people', title: words.people, cell: (row) => (row.participants.length === 0 ? <span className="faint">{words.nobody}</span> : <People people={row.participants} />) },
    { key: 'actions', title: words.actions, hideTitle: true, width: '210px', phone: 'bare', cell: (row) => <Actions row={row} mine={row.user === me} onEnd={() => end(row)} /> },
  ];
  const empty = <Empty icon={<IconSession size={32} />} title={words.nothingLive}>{words.nothingLiveHelp}</Empty>;
  return (
    <Panel title={words.live} flush actions={live.data && live.data.length > 0 && <Badge tone="info" dot>{words.liveCount(live.data.length)}</Badge>}>
      <Table label={words.live} columns={columns} rows={live.data} rowKey={(row) => row.session} error={live.error} retry={live.reload} empty={empty} expect={3} />
      {ending && <EndDialog session={ending} onClose={() => end(undefined)} onDone={live.reload} />}
    </Panel>
  );
}

function Actions({ row, mine, onEnd }: { row: Live; mine: boolean; onEnd: () => void }) {
  const mayEnd = useMay('session', 'delete');
  const who = words.whoAt(row.user, row.login, row.host);
  const open = (mode?: string) => window.open(joinUrl(row.session, mode), '_blank', 'noopener');
  const items: MenuItem[] = [
    ...(mine ? [{ key: 'again', label: words.again, icon: <IconPlay />, onSelect: () => open() }, { key: 'line', line: true } as const] : []),
    { key: 'as', heading: words.joinAs },
    ...(['observer', 'moderator', 'peer'] as const).map((mode) => ({ key: mode, label: words.modes[mode] ?? mode, hint: words.modeHints[mode], onSelect: () => open(mode) })),
  ];
  return (
    <span className="row session-actions">
      <Link className="btn btn-quiet btn-small btn-icon" href={`/recordings/${encodeURIComponent(row.session)}`} aria-label={words.playLabel(who)} title={words.watchRecording}><IconPlay /></Link>
      {row.kind === 'interactive'
        ? <Menu label={words.joinAs} items={items} trigger={<Button size="small" icon={<IconEye />} aria-label={words.joinLabel(who)}><span className="row">{words.join}<IconDown size={12} /></span></Button>} />
        : <Button size="small" icon={<IconEye />} forbidden={words.notJoinable} aria-label={words.joinLabel(who)}>{words.join}</Button>}
      <Button size="small" forbidden={mayEnd} onClick={onEnd} aria-label={words.endLabel(who)}>{words.end}</Button>
    </span>
  );
}

function EndDialog({ session, onClose, onDone }: { session: Live; onClose: () => void; onDone: () => void }) {
  const action = useAction(() => json('DELETE', `/v1/sessions/${encodeURIComponent(session.session)}`));
  const go = async () => {
    if (!(await action.run())) return;
    toast(words.ended_);
    onDone();
    onClose();
  };
  return (
    <ConfirmDialog open danger title={words.endTitle} verb={words.end} busy={action.busy} error={action.error} onClose={onClose} onConfirm={() => void go()}>
      <p>{words.endText(session.user, words.target(session.login, session.host))}</p>
      <p className="row"><KindIcon kind={session.kind} /><span className="mono small break">{session.session}</span></p>
      <p className="soft small">{words.endForever}</p>
    </ConfirmDialog>
  );
}
