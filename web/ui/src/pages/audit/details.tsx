import { Link } from 'wouter';
import { toast } from '../../app/toasts';
import { linkTo, type Filter } from '../../audit/filter';
import { EventIcon, Pieces } from '../../audit/parts';
import { actor, sentence, type AuditItem } from '../../audit/sentence';
import { exact } from '../../lib/format';
import { audit as words, detailNames } from '../../strings/audit';
import { player } from '../../strings/player';
import { Button, Chip, Code, copyText, CopyButton, Drawer, Facts, IconLink, IconPlay } from '../../ui';

export const show = (time: string): string => exact(new Date(time));

export function Details({ item, onClose, narrow }: { item: AuditItem; onClose: () => void; narrow: (change: Partial<Filter>) => void }) {
  const { event } = item;
  const json = JSON.stringify(item, null, 2);
  const copyLink = () => {
    void copyText(`${location.origin}/audit?${linkTo(event, item.seq)}`).then((ok) => toast(ok ? words.linkCopied : player.notCopied, ok ? 'ok' : 'bad'));
  };
  const facts: [string, string | undefined][] = [
    [detailNames.time, exact(new Date(event.time), true)],
    [detailNames.event, `${event.event} · ${item.code}`],
    [detailNames.user, event.user && actor(event.user)],
    [detailNames.addr, event.addr],
    [detailNames.login, event.login],
    [detailNames.host, event.host],
    [detailNames.target, event.target],
    [detailNames.message, event.message],
    [detailNames.session, event.session],
    [detailNames.node, String(event.node)],
    ...Object.entries(event.data ?? {}).map(([name, value]): [string, string] => [name.replaceAll('_', ' '), value]),
  ];
  const only: [string | undefined, string, Partial<Filter>][] = [
    [event.user, event.user ?? '', { user: event.user ?? '' }],
    [event.host, event.host ?? '', { host: event.host ?? '' }],
    [event.session, words.thisSession, { text: event.session ?? '' }],
    [event.event, event.event, { type: event.event }],
  ];
  return (
    <Drawer open onClose={onClose} title={words.seq(item.seq)}>
      <p className="row details-sentence"><EventIcon item={item} /><span className="grow break"><Pieces pieces={sentence(event, show)} /></span></p>
      <div className="row-wrap">
        {event.session && <Link className="btn btn-plain btn-small" href={`/recordings/${encodeURIComponent(event.session)}`}><IconPlay /><span>{words.session}</span></Link>}
        <Button size="small" icon={<IconLink />} onClick={copyLink}>{words.link}</Button>
      </div>
      <Facts items={facts.filter((fact): fact is [string, string] => Boolean(fact[1]))} />
      <div className="row-wrap">
        {only.map(([has, label, change]) => has && <Chip key={label} onClick={() => narrow(change)}>{words.only(label)}</Chip>)}
      </div>
      <Code text={json} label={words.details(item.seq)} actions={<CopyButton text={json} label={words.copyJson} />} />
    </Drawer>
  );
}
