/** What Ctrl makes of a character: Ctrl+C is 0x03. Characters for which it means nothing come back as they are. */
export function ctrl(text: string): string {
  if (text.length !== 1) return text;
  const code = text.toUpperCase().charCodeAt(0);
  if (code === 0x20) return '\u0000';
  if (code === 0x3f) return '\u007f';
  return code >= 0x40 && code <= 0x5f ? String.fromCharCode(code & 0x1f) : text;
}

export type PhoneKey = 'esc' | 'tab' | 'up' | 'down' | 'left' | 'right' | '|' | '/' | '-' | '~';

/** What a key of the phone row sends. Programs may have asked for application cursor keys. */
export function phoneKey(key: PhoneKey, application: boolean): string {
  const arrow = { up: 'A', down: 'B', right: 'C', left: 'D' } as const;
  if (key === 'esc') return '\u001b';
  if (key === 'tab') return '\t';
  if (key in arrow) return `\u001b${application ? 'O' : '['}${arrow[key as keyof typeof arrow]}`;
  return key;
}

export type Shortcut = { do: 'tab'; n: number } | { do: 'copy' } | { do: 'paste' } | { do: 'search' } | { do: 'new' } | { do: 'font'; by: 1 | -1 | 0 };

type Keys = Pick<KeyboardEvent, 'altKey' | 'ctrlKey' | 'metaKey' | 'shiftKey' | 'key' | 'code'>;

/** The keys that the page takes before the terminal sees them. */
export function shortcut(event: Keys): Shortcut | undefined {
  const { altKey, ctrlKey, metaKey, shiftKey, code } = event;
  const digit = /^Digit([1-9])$/.exec(code);
  if (altKey && !ctrlKey && !metaKey && !shiftKey && digit) return { do: 'tab', n: Number(digit[1]) };
  if (!ctrlKey || altKey || metaKey || !shiftKey) return undefined;
  switch (code) {
    case 'KeyC': return { do: 'copy' };
    case 'KeyV': return { do: 'paste' };
    case 'KeyF': return { do: 'search' };
    case 'Enter': return { do: 'new' };
    case 'ArrowUp': return { do: 'font', by: 1 };
    case 'ArrowDown': return { do: 'font', by: -1 };
    case 'Digit0': return { do: 'font', by: 0 };
    default: return undefined;
  }
}
