import type { LintFault } from '../api/names';

export interface Place {
  from: number;
  to: number;
}

/** Where a fault is in a text: from its place to the end of the word there. Lines and columns count from 1. */
export function placeOf(text: string, fault: Pick<LintFault, 'line' | 'column'>): Place {
  const lines = text.split('\n');
  const row = Math.min(Math.max(1, fault.line), lines.length);
  const start = lines.slice(0, row - 1).reduce((sum, line) => sum + line.length + 1, 0);
  const line = lines[row - 1] ?? '';
  // Columns count characters, places count code units.
  const column = [...line].slice(0, Math.max(0, fault.column - 1)).join('').length;
  const from = start + Math.min(column, line.length);
  const word = /^[\w.*{}-]+/.exec(line.slice(from - start))?.[0].length ?? 0;
  return { from, to: Math.max(from + word, Math.min(from + 1, start + line.length)) };
}

/** The name that a hint proposes, if it does: `did you mean `logins`?` */
export function proposed(hint: string): string | undefined {
  return /[`"']([\w*.-]+)[`"']/.exec(hint)?.[1] ?? (/^[\w*.-]+$/.test(hint) ? hint : undefined);
}
