import { useMemo } from 'react';
import { exact } from '../../lib/format';
import { shownMoment } from '../../player/link';
import type { Playback } from '../../player/playback';
import { marksOf, pathOf, WIDE } from '../../player/track';
import { player as words } from '../../strings/player';
import { useView } from './recording';

type Props = { playback: Playback; version: number; moments: readonly number[]; hits: readonly number[] };

/** The whole session on one line, thin where nothing happened, with its moments marked. A slider for the keyboard and for fingers. */
export function Timeline({ playback, version, moments, hits }: Props) {
  const { at } = useView(playback);
  const { end, engine } = playback;
  // The number of spans and the end change as more is read.
  const busy = useMemo(() => pathOf(engine.idle.spans, end), [engine, end, version]); // eslint-disable-line react-hooks/exhaustive-deps
  const marks = useMemo(() => marksOf(moments, end), [moments, end]);
  const found = useMemo(() => marksOf(hits, end), [hits, end]);
  const wall = engine.clock.wallAt(at);
  const spoken = words.moment(words.of(shownMoment(at), shownMoment(end)), wall === undefined ? '' : exact(new Date(wall)));
  const done = end > 0 ? (at / end) * 100 : 0;
  return (
    <div className="timeline">
      <svg className="timeline-track" viewBox={`0 0 ${WIDE} 10`} preserveAspectRatio="none" aria-hidden="true">
        <defs><clipPath id="timeline-past"><rect width={done * 10} height="10" /></clipPath></defs>
        <rect className="timeline-line" y="4" width={WIDE} height="2" />
        <path className="timeline-busy" d={busy} />
        <g className="timeline-past" clipPath="url(#timeline-past)"><rect y="4" width={WIDE} height="2" /><path d={busy} /></g>
        <path className="timeline-marks" d={marks} />
        <path className="timeline-hits" d={found} />
      </svg>
      <input
        type="range" className="timeline-input" min={0} max={Math.max(1, end)} step={1} value={Math.min(at, end)} aria-label={words.timeline} aria-valuetext={spoken}
        onChange={(event) => playback.seek(Number(event.target.value))}
      />
    </div>
  );
}
