import { useEffect, useRef } from 'react';
import { EventIcon, Pieces } from '../../audit/parts';
import { exact } from '../../lib/format';
import { shownMoment } from '../../player/link';
import type { Playback } from '../../player/playback';
import { player as words } from '../../strings/player';
import { Empty, IconClock, Note } from '../../ui';
import type { Moment } from './moments';
import { useView } from './recording';

const FEW = 500;

export function MomentList({ moments, playback, refused }: { moments: readonly Moment[]; playback: Playback; refused: string | undefined }) {
  const { at } = useView(playback);
  const list = useRef<HTMLOListElement>(null);
  const current = moments.findLastIndex((moment) => moment.at <= at);
  useEffect(() => {
    // Only the list scrolls, never the page.
    const [box, item] = [list.current, list.current?.children[current] as HTMLElement | undefined];
    if (box && item && box.scrollHeight > box.clientHeight) box.scrollTo({ top: item.offsetTop - box.clientHeight / 2 });
  }, [current]);
  return (
    <>
      {refused && <Note tone="plain">{words.eventsRefused} {refused}</Note>}
      {moments.length === 0
        ? <Empty icon={<IconClock size={24} />} title={words.noMoments}>{words.noMomentsHelp}</Empty>
        : (
          <ol className="moments" ref={list}>
            {moments.slice(0, FEW).map((moment, i) => (
              <li key={moment.key}>
                <button type="button" className="moment" aria-current={i === current ? 'true' : undefined} data-past={i <= current || undefined} onClick={() => playback.seek(moment.at)}>
                  <Stamp at={moment.at} playback={playback} />
                  {moment.event ? <EventIcon item={moment.event} /> : <IconClock className="faint" />}
                  <span className={`grow break${moment.warning ? ' moment-warning' : ''}`}><Pieces pieces={moment.pieces} /></span>
                </button>
              </li>
            ))}
          </ol>
        )}
    </>
  );
}

export function Stamp({ at, playback }: { at: number; playback: Playback }) {
  const wall = playback.engine.clock.wallAt(at);
  return <span className="stamp" title={wall === undefined ? undefined : exact(new Date(wall), true)}>{shownMoment(at)}</span>;
}
