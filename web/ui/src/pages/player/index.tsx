import { useState } from 'react';
import { Link, useParams } from 'wouter';
import { useMay } from '../../app/session';
import { toast } from '../../app/toasts';
import { writeMoment } from '../../player/link';
import { recordingOf } from '../../player/load';
import { player as words } from '../../strings/player';
import { Button, copyText, Failed, IconButton, IconDownload, IconExternal, IconLink, Page, PageHeader, PageSkeleton, Tooltip } from '../../ui';
import { About } from './about';
import { useMoments } from './moments';
import { useRecording, type Loaded } from './recording';
import { ShareDialog } from './share';
import { PlayerView } from './view';

export default function PlayerPage() {
  const { id = '' } = useParams<{ id: string }>();
  const loaded = useRecording(recordingOf(id));
  const first = loaded?.error ?? loaded?.trouble;
  if (loaded === undefined || (loaded.engine.start === undefined && first === undefined)) return <PageSkeleton />;
  if (loaded.engine.start === undefined && first) {
    return <Page><PageHeader title={words.missing} crumbs={<Link href="/sessions">{words.back}</Link>} /><Failed error={first} title={words.missing} /></Page>;
  }
  return <Player key={id} id={id} loaded={loaded} />;
}

function Player({ id, loaded }: { id: string; loaded: Loaded }) {
  const { engine, playback, version, live } = loaded;
  const { moments, people, refused } = useMoments(id, engine, version, live);
  const mayNotShare = useMay('recording', 'create');
  const [sharing, share] = useState(false);
  const copy = () => {
    const url = new URL(location.href);
    url.search = `?t=${writeMoment(playback.view().at)}`;
    void copyText(url.href).then((ok) => toast(ok ? words.copied : words.notCopied, ok ? 'ok' : 'bad'));
  };
  return (
    <PlayerView
      loaded={loaded} moments={moments} refused={refused} about={<About engine={engine} people={people} />}
      crumbs={<Link href="/sessions">{words.back}</Link>}
      actions={
        <>
          <IconButton look="plain" icon={<IconLink />} label={words.copyLink} onClick={copy} />
          <Button icon={<IconExternal />} forbidden={live ? words.shareLive : mayNotShare} onClick={() => share(true)}>{words.share}</Button>
          <Tooltip text={words.downloadHint}><a className="btn btn-plain" href={`/v1/recordings/${encodeURIComponent(id)}/asciicast`} download={`${id}.cast`}><IconDownload /><span>{words.download}</span></a></Tooltip>
        </>
      }
      note={sharing && <ShareDialog id={id} onClose={() => share(false)} />}
    />
  );
}
