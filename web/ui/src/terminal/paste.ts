/**
 * What may be pasted into a terminal. A paste is wrapped in ESC[200~ … ESC[201~, so that the program at the other end
 * takes it as text; a text that holds the end mark itself would break out and be run. The marks are removed, also those
 * that appear when others are removed, and with them every control byte but tab and newline.
 */
export function safePaste(text: string): string {
  let before: string;
  let clean = text.replace(/\r\n?/g, '\n');
  do {
    before = clean;
    clean = clean.replace(/(?:\u001b\[|\u009b)20[01]~/g, '');
  } while (clean !== before);
   
  return clean.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}
