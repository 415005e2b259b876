import { useMemo } from 'react';
import { exact } from '../../lib/format';
import { IDLE_MS, type Idle } from '../../player/idle';
import { shownMoment } from '../../player/link';
import type { Playback } from '../../player/playback';
import { player as words } from '../../strings/player';
import { useView } from './recording';

const WIDE = 1000;

/** Spans as one path, in thousandths of the line; what is too narrow to be seen is left out. */
export function pathOf(spans: readonly Idle[], end: number): string {
  if (end <= 0) return '';
  const parts: string[] = [];
  for (const { from, to } of spans) {
    const x = Math.round((from / end) * WIDE * 10) / 10;
    const w = Math.round(((to - from) / end) * WIDE * 10) / 10;
    if (w >= 1) parts.push(`M${x} 0h${w}v10h${-w}z`);
  }
  return parts.join('');
}

/** Marks as one path of thin lines, one for each thousandth at most. */
export function marksOf(moments: readonly number[], end: number): string {
  if (end <= 0) return '';
  const places = new Set(moments.map((at) => Math.round((at / end) * WIDE)));
  return [...places].map((x) => `M${Math.min(x, WIDE - 1)} 0v10`).join('');
}

type Props = { playback: Playback; version: number; moments: readonly number[]; hits: readonly number[] };

/** The whole session on one line, with its pauses hatched and its moments marked. A slider for the keyboard and for fingers. */
export function Timeline({ playback, version, moments, hits }: Props) {
  const { at } = useView(playback);
  const { end, engine } = playback;
  // The number of spans and the end change as more is read.
  const idle = useMemo(() => pathOf(engine.idle.spans.filter((span) => span.to - span.from >= IDLE_MS), end), [engine, end, version]); // eslint-disable-line react-hooks/exhaustive-deps
  const marks = useMemo(() => marksOf(moments, end), [moments, end]);
  const found = useMemo(() => marksOf(hits, end), [hits, end]);
  const wall = engine.clock.wallAt(at);
  const spoken = words.moment(words.of(shownMoment(at), shownMoment(end)), wall === undefined ? '' : exact(new Date(wall)));
  const done = end > 0 ? (at / end) * 100 : 0;
  return (
    <div className="timeline">
      <svg className="timeline-track" viewBox={`0 0 ${WIDE} 10`} preserveAspectRatio="none" aria-hidden="true">
        <rect className="timeline-base" width={WIDE} height="10" />
        <rect className="timeline-done" width={done * 10} height="10" />
        <path className="timeline-idle" d={idle} />
        <path className="timeline-marks" d={marks} />
        <path className="timeline-hits" d={found} />
      </svg>
      <input
        type="range" className="timeline-input" min={0} max={Math.max(1, end)} step={100} value={Math.min(at, end)} aria-label={words.timeline} aria-valuetext={spoken}
        onChange={(event) => playback.seek(Number(event.target.value))}
      />
    </div>
  );
}
