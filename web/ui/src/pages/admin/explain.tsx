import { useState } from 'react';
import type { Reach, RoleExplain } from '../../api';
import { admin } from '../../strings/admin';
import { Badge, Button, Chip, Failed, Note, Panel, Skeleton } from '../../ui';
import type { Asked } from './editing';

const words = admin.explain;
const FEW = 12;

/** Who reaches what with a role, and what saving it changes. */
export function ExplainPanel({ asked, faulty }: { asked: Asked<RoleExplain> | undefined; faulty: boolean }) {
  const { reply, error } = asked ?? {};
  return (
    <Panel title={words.title} about={words.about} actions={reply && <Counts explain={reply} />}>
      {faulty
        ? <p className="soft">{words.faulty}</p>
        : error
          ? <Failed error={error} title={words.failed} />
          : reply === undefined
            ? <Skeleton lines={3} />
            : <Explained explain={reply} />}
    </Panel>
  );
}

function Counts({ explain: { gained, lost } }: { explain: RoleExplain }) {
  return (
    <span className="row">
      {gained.length > 0 && <Badge tone="ok">{`+${gained.length}`} {words.gainedWord}</Badge>}
      {lost.length > 0 && <Badge tone="bad">{`−${lost.length}`} {words.lostWord}</Badge>}
    </span>
  );
}

function Explained({ explain }: { explain: RoleExplain }) {
  return (
    <>
      <Effects explain={explain} />
      <div className="stack-s">
        <h3>{words.users}</h3>
        {explain.users.length === 0 ? <p className="soft">{words.nobody}</p> : <span className="chips">{explain.users.map((user) => <Chip key={user}>{user}</Chip>)}</span>}
      </div>
      <div className="stack-s">
        <h3>{words.reach}</h3>
        {explain.reach.length === 0 ? <p className="soft">{words.nothing}</p> : <Reaches rows={explain.reach} label={words.reach} />}
      </div>
      <p className="xs faint">{words.pairs(explain.pairs)} {explain.cut ? words.cut : ''}</p>
    </>
  );
}

/** What saving changes. */
export function Effects({ explain }: { explain: RoleExplain }) {
  const { gained, lost } = explain;
  if (gained.length === 0 && lost.length === 0) return <Note tone="plain">{words.none}</Note>;
  return (
    <div className="effects">
      {gained.length > 0 && <section className="effect effect-gained"><h3>{words.gained}</h3><Reaches rows={gained} label={words.gained} /></section>}
      {lost.length > 0 && <section className="effect effect-lost"><h3>{words.lost}</h3><Reaches rows={lost} label={words.lost} /></section>}
    </div>
  );
}

function Reaches({ rows, label }: { rows: readonly Reach[]; label: string }) {
  const [all, setAll] = useState(false);
  const shown = all ? rows : rows.slice(0, FEW);
  return (
    <>
      <ul className="reaches" aria-label={label}>
        {shown.map((row) => (
          <li key={`${row.user} ${row.host}`} className="reach">
            <span className="reach-user clip" title={row.user}>{row.user}</span>
            <span className="reach-host clip" title={row.host}>{row.host}</span>
            <span className="chips">{row.logins.map((login) => <Chip key={login}>{login}</Chip>)}</span>
          </li>
        ))}
      </ul>
      {!all && rows.length > FEW && <Button size="small" onClick={() => setAll(true)}>{words.showAll(rows.length)}</Button>}
    </>
  );
}
