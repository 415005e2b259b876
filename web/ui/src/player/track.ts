import type { Idle } from './idle';

/** The timeline is this wide, whatever it takes on the page. */
export const WIDE = 1000;

/** What lies between the pauses as one path, in thousandths of the line. A pause that is too narrow to be seen is none. */
export function pathOf(pauses: readonly Idle[], end: number): string {
  if (end <= 0) return '';
  const place = (ms: number) => Math.round((ms / end) * WIDE * 10) / 10;
  const parts: string[] = [];
  let from = 0;
  const add = (to: number) => {
    // A single output between two pauses is seen too.
    const width = Math.max(1, to - from);
    parts.push(`M${from} 0h${width}v10h${-width}z`);
  };
  for (const pause of pauses) {
    if (place(pause.to) - place(pause.from) < 2) continue;
    add(place(pause.from));
    from = place(pause.to);
  }
  add(WIDE);
  return parts.join('');
}

/** Marks as one path of thin lines, one for each thousandth at most. */
export function marksOf(moments: readonly number[], end: number): string {
  if (end <= 0) return '';
  const places = new Set(moments.map((at) => Math.round((at / end) * WIDE)));
  return [...places].map((x) => `M${Math.min(x, WIDE - 1)} 0v10`).join('');
}
