import type { ReactNode } from 'react';
import { terminal as strings } from '../../strings/terminal';
import { IconDown, IconLeft, IconRight, IconUp } from '../../ui';
import type { PhoneKey } from '../../terminal/keys';

type Props = { onKey: (key: PhoneKey) => void; ctrl: boolean; onCtrl: () => void };

const { esc, tab, up, down, left, right } = strings.phone;
const keys: [PhoneKey, ReactNode, string][] = [
  ['esc', esc, esc], ['tab', tab, tab],
  ['left', <IconLeft key="l" />, left], ['down', <IconDown key="d" />, down], ['up', <IconUp key="u" />, up], ['right', <IconRight key="r" />, right],
  ['|', '|', '|'], ['/', '/', '/'], ['-', '-', '-'], ['~', '~', '~'],
];

/** Keys that the keyboard of a phone lacks. Shown where fingers point; pressing one leaves the keyboard open. */
export function PhoneKeys({ onKey, ctrl, onCtrl }: Props) {
  const hold = (event: { preventDefault: () => void }) => event.preventDefault();
  return (
    <div className="phone-keys" role="toolbar" aria-label={strings.phoneRow}>
      {keys.slice(0, 2).map(([key, face, label]) => <button key={key} type="button" aria-label={label} onPointerDown={hold} onClick={() => onKey(key)}>{face}</button>)}
      <button type="button" aria-pressed={ctrl} onPointerDown={hold} onClick={onCtrl}>{strings.phone.ctrl}</button>
      {keys.slice(2).map(([key, face, label]) => <button key={key} type="button" aria-label={label} onPointerDown={hold} onClick={() => onKey(key)}>{face}</button>)}
    </div>
  );
}
