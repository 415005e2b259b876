import { useEffect, useState, useSyncExternalStore } from 'react';
import { Terminal } from '@xterm/xterm';
import type { ApiError} from '../../api';
import { asApiError, isAbort } from '../../api';
import { Engine } from '../../player/engine';
import { isLive, Loader, type Source } from '../../player/load';
import { Playback, type View } from '../../player/playback';
import { onlyDraws, type Term } from '../../player/screen';
import { deflate, Store } from '../../player/store';

/** A terminal without input, links or scrollback, that draws and does nothing else. */
export function silentTerminal(options: Partial<ConstructorParameters<typeof Terminal>[0]> = {}): Terminal {
  const term = new Terminal({ cols: 80, rows: 24, scrollback: 0, disableStdin: true, linkHandler: { activate: () => undefined }, logLevel: 'off', allowProposedApi: true, ...options });
  onlyDraws(term as unknown as Term);
  return term;
}

export interface Loaded {
  engine: Engine;
  playback: Playback;
  screen: Terminal;
  /** Grows with everything that is read. */
  version: number;
  done: boolean;
  live: boolean;
  error: ApiError | undefined;
  /** The node does not answer at the moment; it is asked again. */
  trouble: ApiError | undefined;
}

const TELL_MS = 150;

/** Reads a recording, and keeps reading while its session runs. */
export function useRecording(source: Source): Loaded | undefined {
  const [loaded, set] = useState<Loaded>();
  const key = JSON.stringify(source);
  useEffect(() => {
    const control = new AbortController();
    const loader = new Loader(JSON.parse(key) as Source, control.signal);
    const hidden: Terminal[] = [];
    const make = () => {
      const term = silentTerminal();
      hidden.push(term);
      return term as unknown as Term;
    };
    const engine = new Engine(make, new Store(deflate, loader.reread));
    const screen = silentTerminal({ cursorBlink: false, cursorInactiveStyle: 'block' });
    const playback = new Playback(engine, screen as unknown as Term);
    let told = 0;
    let version = 0;
    let done = false;
    let troubled = false;
    const update = (change: Partial<Loaded> = {}) => {
      told = performance.now();
      version += 1;
      const live = isLive(engine);
      done ||= change.done ?? false;
      playback.open = live || !done;
      set((old) => ({ engine, playback, screen, error: undefined, trouble: undefined, ...(old?.engine === engine ? old : {}), version, live, ...change, done }));
    };
    update();
    loader
      .run(
        engine,
        () => {
          if (engine.end !== undefined) update({ done: true });
          else if (performance.now() - told > TELL_MS) update();
        },
        (trouble) => {
          if (trouble !== undefined || troubled) update({ trouble });
          troubled = trouble !== undefined;
        },
      )
      .catch((error: unknown) => {
        if (!control.signal.aborted && !isAbort(error)) update({ error: asApiError(error), done: true });
      });
    return () => {
      control.abort();
      for (const term of [...hidden, screen]) term.dispose();
    };
  }, [key]);
  return loaded;
}

export function useView(playback: Playback): View {
  return useSyncExternalStore(playback.subscribe, playback.view);
}

/** Moves the playback on with the browser's frames. */
export function useTicking(playback: Playback): void {
  const { playing } = useView(playback);
  useEffect(() => {
    if (!playing) return;
    let frame = requestAnimationFrame(function next(now) {
      playback.tick(now);
      frame = requestAnimationFrame(next);
    });
    return () => cancelAnimationFrame(frame);
  }, [playback, playing]);
}
