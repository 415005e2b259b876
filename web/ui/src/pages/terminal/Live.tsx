import { useState } from 'react';
import type { DragEvent } from 'react';
import type { Wish } from '../../terminal/frames';
import { wishName } from '../../terminal/tabs';
import type { Change } from '../../terminal/tabs';
import { files as fileStrings, terminal as strings } from '../../strings/terminal';
import { IconUpload } from '../../ui';
import { Banner } from './Banner';
import { Files } from './Files';
import type { Handle } from './handles';
import { PhoneKeys } from './PhoneKeys';
import { SearchBar } from './SearchBar';
import { useLive } from './useLive';
import { useTransfers } from './useTransfers';

type Props = { id: number; wish: Wish; active: boolean; change: (change: Change) => void; register: (id: number, handle: Handle | null) => void };

// Without a login, in a session of somebody else, there is no account whose files they would be.
const takesFiles = (wish: Wish, event: DragEvent) => wish.login !== '' && event.dataTransfer.types.includes('Files');

/** A session: its screen, and what lies over it. */
export function Live({ id, wish, active, change, register }: Props) {
  const [searching, setSearching] = useState(false);
  const [showing, setShowing] = useState(false);
  const [dragged, setDragged] = useState<File[]>();
  const [over, setOver] = useState(false);
  const live = useLive({ id, wish, active, change, register, onSearch: () => setSearching((was) => !was), onFiles: () => setShowing(true) });
  const transfers = useTransfers(wish);

  const drop = (event: DragEvent) => {
    if (!takesFiles(wish, event)) return;
    event.preventDefault();
    setOver(false);
    setDragged([...event.dataTransfer.files]);
    setShowing(true);
  };
  return (
    <div
      className="live" style={{ background: live.background }}
      onDragOver={(event) => { if (takesFiles(wish, event)) { event.preventDefault(); setOver(true); } }}
      onDragLeave={(event) => { if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false); }}
      onDrop={drop}
    >
      <Banner state={live.state} notice={live.notice} watching={wish.mode === 'observer'} onRetry={live.retry} onDismiss={live.dismiss} />
      {searching && live.screen && <SearchBar screen={live.screen} onClose={() => { setSearching(false); live.screen?.term.focus(); }} />}
      <div ref={live.box} className="screen" />
      <PhoneKeys onKey={live.phone} ctrl={live.ctrl} onCtrl={live.toggleCtrl} />
      {over && <div className="drop"><IconUpload size={32} />{fileStrings.dropNow(wish.host)}</div>}
      {showing && (
        <Files
          title={fileStrings.title(wishName(wish))} transfers={transfers} dropped={dragged}
          onClose={() => { setShowing(false); setDragged(undefined); live.screen?.term.focus(); }}
        />
      )}
      <span className="sr" role="status">{live.state.phase === 'open' ? strings.screen(wishName(wish)) : ''}</span>
    </div>
  );
}
