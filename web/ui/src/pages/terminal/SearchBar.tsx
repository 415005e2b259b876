import { useState } from 'react';
import type { KeyboardEvent } from 'react';
import { terminal as strings } from '../../strings/terminal';
import { ui } from '../../strings/app';
import { IconButton, IconClose, IconDown, IconUp, SearchField } from '../../ui';
import type { Screen } from './screen';

export function SearchBar({ screen, onClose }: { screen: Screen; onClose: () => void }) {
  const [text, setText] = useState('');
  const [found, setFound] = useState(true);
  const find = (wanted: string, back: boolean) => {
    if (!wanted) {
      screen.search.clearDecorations();
      return setFound(true);
    }
    setFound(back ? screen.search.findPrevious(wanted) : screen.search.findNext(wanted, { incremental: wanted !== text }));
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key === 'Enter') {
      event.preventDefault();
      find(text, !event.shiftKey);
    } else if (event.key === 'Escape') onClose();
  };
  return (
    <search className="term-search">
      <SearchField label={strings.searchLabel} value={text} onValue={(next) => { find(next, true); setText(next); }} onKeyDown={keys} autoFocus />
      <span className="small soft" role="status">{found ? '' : strings.searchNone}</span>
      <IconButton size="small" icon={<IconUp />} label={strings.searchBefore} onClick={() => find(text, true)} />
      <IconButton size="small" icon={<IconDown />} label={strings.searchNext} onClick={() => find(text, false)} />
      <IconButton size="small" icon={<IconClose />} label={ui.close} onClick={onClose} />
    </search>
  );
}
