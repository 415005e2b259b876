import { useEffect, useRef } from 'react';
import '@xterm/xterm/css/xterm.css';
import type { Terminal } from '@xterm/xterm';
import { player as words } from '../../strings/player';
import type { Playback } from '../../player/playback';
import { duration } from '../../lib/format';
import { useView } from './recording';

const SMALLEST = 7;
const LARGEST = 15;
/** Colours of its own in both themes of the page: what was recorded was made for a dark screen. */
const THEME = {
  background: '#0e1116', foreground: '#d7dce3', cursor: '#84b1f5', cursorAccent: '#0e1116', selectionBackground: '#33507f',
  black: '#1b2028', red: '#f28b82', green: '#6cc788', yellow: '#e0b04e', blue: '#84b1f5', magenta: '#d19af0', cyan: '#6ccbd6', white: '#d7dce3',
  brightBlack: '#7a8594', brightRed: '#ffb1aa', brightGreen: '#97e0ad', brightYellow: '#f3cf85', brightBlue: '#b0cefb', brightMagenta: '#e4c1f8', brightCyan: '#9fe3ea', brightWhite: '#ffffff',
};

/** The recorded screen in its own number of columns and rows, as large as the place allows. */
export function Screen({ screen, playback }: { screen: Terminal; playback: Playback }) {
  const box = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const [outer, place] = [box.current, inner.current];
    if (outer === null || place === null) return;
    screen.options = { theme: THEME, fontFamily: getComputedStyle(place).getPropertyValue('--mono'), fontSize: 13, lineHeight: 1.15 };
    if (screen.element === undefined) screen.open(place);
    else place.append(screen.element);
    // What is read out is the moment and the text that is searched for; the screen is a picture.
    screen.textarea?.setAttribute('tabindex', '-1');
    screen.textarea?.setAttribute('aria-hidden', 'true');
    const fit = () => {
      const wide = outer.clientWidth - 16;
      const size = Math.max(SMALLEST, Math.min(LARGEST, Math.floor((wide / screen.cols / 0.602) * 2) / 2));
      if (screen.options.fontSize !== size) screen.options.fontSize = size;
    };
    fit();
    const resized = new ResizeObserver(fit);
    resized.observe(outer);
    const changed = screen.onResize(fit);
    return () => {
      resized.disconnect();
      changed.dispose();
    };
  }, [screen]);
  return (
    <div className="player-screen" ref={box}>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard */}
      <div className="player-scroll" role="group" aria-label={words.screen} tabIndex={0}><div ref={inner} /></div>
      <Skipped playback={playback} />
    </div>
  );
}

const SHOWN_MS = 2500;

/** Says for a moment that a pause was left out. */
function Skipped({ playback }: { playback: Playback }) {
  const { skipped } = useView(playback);
  const fresh = skipped !== undefined && performance.now() - skipped.when < SHOWN_MS;
  return <div className="player-skipped" role="status" data-shown={fresh || undefined}>{fresh ? words.skipped(duration(skipped.ms / 1000)) : ''}</div>;
}
