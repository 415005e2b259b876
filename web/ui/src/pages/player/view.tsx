import { useEffect, useMemo, useRef, useState, type ReactNode } from 'react';
import { useUrlParams } from '../../lib/url';
import { readMoment, writeMoment } from '../../player/link';
import { player as words } from '../../strings/player';
import { Badge, Failed, Note, Page, PageHeader, Tabs } from '../../ui';
import { completeness } from '../sessions/data';
import { Clock, Controls, keyAction } from './controls';
import type { Moment } from './moments';
import { Panes } from './panes';
import { useTicking, useView, type Loaded } from './recording';
import { Screen } from './screen';
import { SearchPane, useFound } from './search';
import { MomentList } from './side';
import { Timeline } from './timeline';
import './player.css';

type Props = {
  loaded: Loaded;
  moments: readonly Moment[];
  /** Why the audit log's part of the moments is missing. */
  refused?: string | undefined;
  about: ReactNode;
  crumbs?: ReactNode;
  actions?: ReactNode;
  /** Above the player. */
  note?: ReactNode;
};

/** A recording, whoever looks at it and however it came. */
export function PlayerView({ loaded, moments, refused, about, crumbs, actions, note }: Props) {
  const { engine, playback, screen, version, done, live } = loaded;
  const [params, set] = useUrlParams();
  const field = useRef<HTMLInputElement>(null);
  const query = params.get('q') ?? '';
  const found = useFound(engine, query);
  const row = engine.start;
  const tab = params.get('tab') ?? (query ? 'search' : 'moments');

  useBeginning(loaded, readMoment(params.get('t')));
  useTicking(playback);
  useKeys(playback, () => {
    set({ tab: 'search' });
    setTimeout(() => field.current?.focus());
  });
  usePlaceInAddress(playback, set);

  const momentTimes = useMemo(() => moments.map((moment) => moment.at), [moments]);
  const hitTimes = useMemo(() => found?.hits.map((hit) => hit.at) ?? [], [found]);
  if (row === undefined) return null;
  const state = completeness(row);
  const terminal = row.session_kind === 'interactive';
  return (
    <Page wide>
      <PageHeader
        title={<span className="row-wrap">{words.who(row.user, row.login, row.host)} <Badge tone={state.tone} dot={live}>{state.label}</Badge></span>}
        windowTitle={words.title(words.who(row.user, row.login, row.host))}
        crumbs={crumbs}
        actions={actions}
      />
      {note}
      {loaded.error && <Failed error={loaded.error} title={words.stops} />}
      {loaded.trouble && <Note tone="warn" title={words.trouble}>{loaded.trouble.message}</Note>}
      {done && !live && engine.end && !engine.end.complete && <Note tone="warn" title={words.stops}>{engine.end.text}</Note>}
      <div className="player">
        <section className="player-main" aria-label={words.screen}>
          {terminal ? <Screen screen={screen} playback={playback} /> : <Panes playback={playback} version={version} />}
          <div className="player-bar">
            <Clock playback={playback} />
            <Timeline playback={playback} version={version} moments={momentTimes} hits={hitTimes} />
            <Controls playback={playback} live={live} />
          </div>
        </section>
        <aside className="player-side" aria-label={words.side}>
          <Tabs
            label={words.side} value={tab} onValue={(next) => set({ tab: next === 'moments' ? undefined : next })}
            tabs={[
              { value: 'moments', label: words.moments, count: moments.length, body: <MomentList moments={moments} playback={playback} refused={refused} /> },
              { value: 'search', label: words.search, body: <SearchPane query={query} onQuery={(q) => set({ q, tab: 'search' })} found={found} playback={playback} reading={!done} field={field} /> },
              { value: 'about', label: words.about, body: about },
            ]}
          />
        </aside>
      </div>
    </Page>
  );
}

/** Where it starts: at the moment of the link as soon as that was read, at the newest of a live session, else at the beginning. */
function useBeginning({ playback, engine, version, done, live }: Loaded, asked: number | undefined): void {
  const begun = useRef(false);
  const [first] = useState(asked);
  useEffect(() => {
    if (begun.current) return;
    if (first !== undefined) {
      if (engine.duration < first && !done) return;
      begun.current = true;
      playback.seek(first);
    } else if (engine.start?.session_kind !== 'interactive') {
      if (!done) return;
      begun.current = true;
      playback.seek(engine.duration);
    } else if (engine.count > 0 && (done || engine.start.completeness !== 'live')) {
      begun.current = true;
      if (live) playback.follow();
      else if (!matchMedia('(prefers-reduced-motion: reduce)').matches) playback.play();
    }
  }, [playback, engine, version, done, live, first]);
}

function useKeys(playback: Loaded['playback'], search: () => void): void {
  const latest = useRef(search);
  latest.current = search;
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const typing = target.closest('textarea, select, [role="dialog"], [role="menu"], input:not([type="range"]):not([type="checkbox"])');
      const pressing = event.key === ' ' && target.closest('button, a, input[type="checkbox"]');
      const tabs = target.closest('[role="tablist"]') && event.key.startsWith('Arrow');
      if (typing || pressing || tabs || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = keyAction(event.key, playback, () => latest.current());
      if (act === undefined) return;
      event.preventDefault();
      act();
    };
    window.addEventListener('keydown', press);
    return () => window.removeEventListener('keydown', press);
  }, [playback]);
}

/** While it stands still the address leads back to this second. */
function usePlaceInAddress(playback: Loaded['playback'], set: (patch: Record<string, string | undefined>) => void): void {
  const { playing, at } = useView(playback);
  const latest = useRef(set);
  latest.current = set;
  const second = playing || at === 0 ? undefined : writeMoment(at);
  useEffect(() => {
    if (second === undefined) return;
    const timer = setTimeout(() => latest.current({ t: second }), 400);
    return () => clearTimeout(timer);
  }, [second]);
}
