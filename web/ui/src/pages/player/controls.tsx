import { duration, exact } from '../../lib/format';
import { otherSpeed, shownMoment, SPEEDS } from '../../player/link';
import type { Playback } from '../../player/playback';
import { player as words } from '../../strings/player';
import { Badge, Button, Checkbox, IconButton, IconHelp, IconPause, IconPlay, Popover, SelectField } from '../../ui';
import { IconAhead, IconBack, IconNextFrame, IconPreviousFrame } from '../../ui/icons-more';
import { useView } from './recording';

/** So near to the newest, it follows. */
const FOLLOWING_MS = 10_000;

export function Controls({ playback, live }: { playback: Playback; live: boolean }) {
  const { at, playing, speed, skip, waiting } = useView(playback);
  return (
    <div className="player-controls">
      <div className="row">
        <IconButton look="primary" icon={playing ? <IconPause /> : <IconPlay />} label={playing ? words.pause : words.play} onClick={() => playback.toggle()} />
        <IconButton icon={<IconBack />} label={words.back5} onClick={() => playback.seek(playback.view().at - 5000)} />
        <IconButton icon={<IconAhead />} label={words.ahead5} onClick={() => playback.seek(playback.view().at + 5000)} />
        <IconButton icon={<IconPreviousFrame />} label={words.previousFrame} onClick={() => playback.frame(-1)} />
        <IconButton icon={<IconNextFrame />} label={words.nextFrame} onClick={() => playback.frame(1)} />
      </div>
      <span className="grow" />
      {live && (waiting || (playing && playback.end - at < FOLLOWING_MS)
        ? <Badge tone="info" dot title={words.waiting}>{words.live}</Badge>
        : <Button size="small" onClick={() => playback.follow()}>{words.toLive}</Button>)}
      <Checkbox label={words.skipIdle} checked={skip} onChange={(event) => playback.setSkip(event.target.checked)} />
      <div className="player-speed">
        <SelectField
          label={words.speed} hideLabel value={String(speed)} onChange={(event) => playback.setSpeed(Number(event.target.value))}
          choices={SPEEDS.map((n) => ({ value: String(n), label: words.times(n) }))}
        />
      </div>
      <Keys />
    </div>
  );
}

/** Where it stands, by both clocks: the session's and the wall's. */
export function Clock({ playback }: { playback: Playback }) {
  const { at } = useView(playback);
  const wall = playback.engine.clock.wallAt(at);
  return (
    <div className="player-clock">
      <span className="player-at">{shownMoment(at, true)}</span>
      <span className="faint"> / {shownMoment(playback.end)}</span>
      {wall !== undefined && <time className="player-wall soft" dateTime={new Date(wall).toISOString()}>{exact(new Date(wall), true)}</time>}
    </div>
  );
}

function Keys() {
  return (
    <Popover label={words.keys} trigger={<Button look="quiet" icon={<IconHelp />} aria-label={words.keys} className="player-keys" />}>
      <h2 className="small">{words.keys}</h2>
      <dl className="key-list">
        {words.keyList.map(([keys, does]) => <div key={keys}><dt>{keys.split(' ').map((key) => <kbd key={key}>{key}</kbd>)}</dt><dd className="small">{does}</dd></div>)}
      </dl>
    </Popover>
  );
}

/** Keys of the player; undefined when this one is not among them. */
export function keyAction(key: string, playback: Playback, search: () => void): (() => void) | undefined {
  const { at, speed } = playback.view();
  const actions: Record<string, () => void> = {
    ' ': () => playback.toggle(),
    ArrowLeft: () => playback.seek(at - 5000),
    ArrowRight: () => playback.seek(at + 5000),
    '[': () => playback.setSpeed(otherSpeed(speed, -1)),
    ']': () => playback.setSpeed(otherSpeed(speed, 1)),
    '.': () => playback.frame(1),
    ',': () => playback.frame(-1),
    '/': search,
    Home: () => playback.seek(0),
    End: () => playback.seek(playback.end),
  };
  return Object.hasOwn(actions, key) ? actions[key] : undefined;
}

export const lengthText = (ms: number): string => duration(ms / 1000);
