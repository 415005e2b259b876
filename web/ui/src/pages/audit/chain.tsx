import { count } from '../../lib/format';
import { chain as words } from '../../strings/audit';
import { Badge, Popover, Skeleton, Time } from '../../ui';
import { useChain } from './data';

/** Whether the log verifies, and up to where; more on a click. */
export function Chain() {
  const { data, error, loading } = useChain();
  if (loading) return <Skeleton width="140px" height="20px" />;
  if (error || data === undefined) return <Badge tone="plain" title={error?.message}>{words.unknown}</Badge>;
  const tone = data.verified ? 'ok' : 'bad';
  return (
    <Popover
      label={words.ok}
      trigger={<button type="button" className="chain-button"><Badge tone={tone} dot>{data.verified ? words.ok : words.bad}</Badge></button>}
    >
      <div className="stack-s small">
        {data.message && <p className={data.verified ? undefined : 'chain-bad'}>{data.message}</p>}
        {data.head_time ? <p>{words.since(count(data.signed))} <Time at={data.head_time} show="exact" /></p> : <p>{words.unsigned}</p>}
        {data.events > data.signed && <p className="soft">{words.rest(count(data.events - data.signed))}</p>}
        {data.checked && <p className="soft">{words.checked} <Time at={data.checked} /></p>}
        <p className="soft">{words.help}</p>
      </div>
    </Popover>
  );
}
