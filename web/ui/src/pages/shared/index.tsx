import { useEffect, useState } from 'react';
import { json, useQuery, type Schema } from '../../api';
import { AloneCard } from '../../app/alone';
import { Mark } from '../../app/mark';
import { exact } from '../../lib/format';
import { recordingOfLink } from '../../player/load';
import { shared as words } from '../../strings/player';
import { Empty, Failed, IconLink, Note, PageSkeleton, Skeleton } from '../../ui';
import { RecordingFacts } from '../player/about';
import { useOwnMoments } from '../player/moments';
import { useRecording, type Loaded } from '../player/recording';
import { PlayerView } from '../player/view';
import { sessions } from '../../strings/sessions';
import './shared.css';

type View = Schema<'SharedView'>;

/** The secret of the link: what stands behind its `#`, which no node is sent with the address. */
function useToken(): string {
  const read = () => location.hash.slice(1);
  const [token, set] = useState(read);
  useEffect(() => {
    const changed = () => set(read());
    window.addEventListener('hashchange', changed);
    return () => window.removeEventListener('hashchange', changed);
  }, []);
  return token;
}

/** Where a link to a recording leads: to that one recording, without a login. */
export default function SharedPage() {
  const token = useToken();
  return token === '' ? <Gone /> : <Opened key={token} token={token} />;
}

function Opened({ token }: { token: string }) {
  const view = useQuery('shared', (signal) => json<View>('POST', '/v1/shared', { body: { token }, signal, proves: true }));
  if (view.data) return <Playing token={token} view={view.data} />;
  if (!view.error) return <AloneCard title={words.title}><div><Skeleton lines={4} height="20px" /></div></AloneCard>;
  if (view.error.status === 403) return <Gone />;
  return <AloneCard title={words.title}><Failed error={view.error} retry={view.reload} /></AloneCard>;
}

function Gone() {
  return <AloneCard title={words.title}><Empty icon={<IconLink size={32} />} title={words.gone}>{words.goneHelp}</Empty></AloneCard>;
}

function Playing({ token, view }: { token: string; view: View }) {
  const loaded = useRecording(recordingOfLink(token));
  const first = loaded?.error ?? loaded?.trouble;
  if (loaded?.engine.start === undefined) {
    if (first?.status === 403) return <Gone />;
    return first ? <AloneCard title={words.title}><Failed error={first} /></AloneCard> : <main className="page"><PageSkeleton /></main>;
  }
  return <Player view={view} loaded={loaded} />;
}

function Player({ view, loaded }: { view: View; loaded: Loaded }) {
  const moments = useOwnMoments(loaded.engine, loaded.version);
  return (
    <main className="shared">
      <PlayerView
        loaded={loaded} moments={moments}
        about={<RecordingFacts engine={loaded.engine} node={sessions.nodeId} />}
        crumbs={<span className="row"><Mark />{view.cluster}</span>}
        note={<Note tone="info" title={words.madeBy(view.maker, exact(new Date(view.expires), true))}>{view.note && <p className="break">{view.note}</p>}<p>{words.audited}</p></Note>}
      />
    </main>
  );
}
