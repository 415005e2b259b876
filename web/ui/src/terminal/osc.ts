import type { Terminal } from '@xterm/xterm';

/**
 * Sequences by which output could reach out of the screen or type answers into the shell: the clipboard (52), the
 * window's title and icon (0, 1, 2), reports of colours (4, 10 to 19 with a question mark), notifications and the like
 * of other terminals (7, 9, 99, 777, 1337). They are taken and nothing is done. Setting a colour stays allowed.
 */
export const swallowed = [0, 1, 2, 7, 9, 52, 99, 777, 1337];
export const asked = [4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];

export function asks(data: string): boolean {
  return data.split(';').includes('?');
}

/**
 * `replaying` says whether what is parsed right now has been shown before: questions in it (where is the cursor, which
 * terminal is this) were answered then, and a second answer would be typed into the shell.
 */
export function harden(term: Pick<Terminal, 'parser'>, replaying: () => boolean): void {
  for (const code of swallowed) term.parser.registerOscHandler(code, () => true);
  for (const code of asked) term.parser.registerOscHandler(code, asks);
  // Reports of settings (DECRQSS, XTGETTCAP) and of the window (XTWINOPS): nothing that a shell needs.
  term.parser.registerDcsHandler({ intermediates: '$', final: 'q' }, () => true);
  term.parser.registerDcsHandler({ intermediates: '+', final: 'q' }, () => true);
  term.parser.registerCsiHandler({ final: 't' }, () => true);
  for (const prefix of ['', '>', '=', '?']) {
    const known = prefix ? { prefix } : {};
    term.parser.registerCsiHandler({ ...known, final: 'c' }, replaying);
    term.parser.registerCsiHandler({ ...known, final: 'n' }, replaying);
    term.parser.registerCsiHandler({ ...known, intermediates: '$', final: 'p' }, replaying);
  }
}

/** Only these may a link in the output lead to, and only on the person's click. */
export function safeLink(text: string): string | undefined {
  try {
    const url = new URL(text);
    return /^https?:$/.test(url.protocol) && !url.username && !url.password ? url.href : undefined;
  } catch {
    return undefined;
  }
}
