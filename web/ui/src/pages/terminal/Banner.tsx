import { useEffect, useState } from 'react';
import type { State } from '../../terminal/machine';
import { terminal as strings } from '../../strings/terminal';
import { ui } from '../../strings/app';
import { Button, IconButton, IconClose, IconEye, IconInfo, IconRefresh } from '../../ui';

type Props = { state: State; notice: string; watching: boolean; onRetry: () => void; onDismiss: () => void };

/** What there is to say about the connection: one calm line that takes nothing from the screen. */
export function Banner({ state, notice, watching, onRetry, onDismiss }: Props) {
  const away = state.phase !== 'open' && state.phase !== 'ended';
  // A connection that is up again at once deserves no word.
  const [patient, setPatient] = useState(false);
  useEffect(() => {
    if (!away) return setPatient(false);
    const timer = setTimeout(() => setPatient(true), 400);
    return () => clearTimeout(timer);
  }, [away]);

  if (away && patient) {
    return (
      <div className="banner" role="status">
        <IconRefresh className="banner-turn" />
        <span className="grow">
          {state.begun ? strings.reconnecting(state.node, Math.max(1, state.tries)) : strings.connecting(state.node)}
          <span className="banner-more">{state.begun ? strings.stillThere : state.tries > 2 ? strings.notYet : ''}</span>
        </span>
        {state.phase === 'waiting' && <Button size="small" onClick={onRetry}>{strings.tryNow}</Button>}
      </div>
    );
  }
  if (notice) {
    return (
      <div className="banner" role="status">
        <IconInfo />
        <span className="grow break">{notice}</span>
        <IconButton size="small" icon={<IconClose />} label={ui.dismiss} onClick={onDismiss} />
      </div>
    );
  }
  return watching ? <div className="banner banner-thin"><IconEye />{strings.watching}</div> : null;
}
