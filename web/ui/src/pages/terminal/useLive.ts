import { useCallback, useEffect, useRef, useState } from 'react';
import type { RefObject } from 'react';
import { useSession } from '../../app/session';
import { usePref } from '../../lib/prefs';
import { terminal as strings } from '../../strings/terminal';
import { Connection } from '../../terminal/connection';
import type { Wish } from '../../terminal/frames';
import { ctrl as withCtrl, phoneKey, shortcut } from '../../terminal/keys';
import type { PhoneKey } from '../../terminal/keys';
import type { Effect, State } from '../../terminal/machine';
import { begin } from '../../terminal/machine';
import { places } from '../../terminal/places';
import { wishName } from '../../terminal/tabs';
import type { Change, Note } from '../../terminal/tabs';
import type { Schema } from '../../api';
import { copyText } from '../../ui';
import type { Handle } from './handles';
import { makeScreen } from './screen';
import type { Screen } from './screen';
import { fontSizes } from './Settings';
import { schemeOf, themes } from './themes';

type Props = {
  id: number;
  wish: Wish;
  active: boolean;
  change: (change: Change) => void;
  register: (id: number, handle: Handle | null) => void;
  onSearch: () => void;
  onFiles: () => void;
};

export type Live = {
  box: RefObject<HTMLDivElement | null>;
  screen: Screen | null;
  state: State;
  notice: string;
  background: string | undefined;
  ctrl: boolean;
  retry: () => void;
  dismiss: () => void;
  phone: (key: PhoneKey) => void;
  toggleCtrl: () => void;
};

// A node shows at most so much once more, and at once.
const replayMost = 64 * 1024;
const replayMs = 1_000;
const encoder = new TextEncoder();

/** Failures that the page says in its own words: what the node says is meant for whoever asked for the session by hand. */
const ofCode: Record<string, (target: string) => string> = {
  session_over: strings.over,
  session_unknown: strings.unknown,
  too_many_terminals: strings.tooMany,
} satisfies Partial<Record<Schema<'ErrorCode'>, (target: string) => string>>;

/** What the picker says of a session that is over. */
export function endNote(target: string, effect: Extract<Effect, { do: 'ended' }>): Note {
  const { end } = effect;
  if (end.why === 'failed') return { tone: 'bad', text: ofCode[end.code]?.(target) ?? strings.failed(target, end.message || end.code) };
  if (end.reason && end.reason !== 'exit') return { tone: 'plain', text: strings.endedReason(target, end.reason) };
  return { tone: 'plain', text: end.status === 0 ? strings.ended(target) : strings.endedStatus(target, end.status) };
}

function usePageIsDark(): boolean {
  const [theme] = usePref('theme');
  const [system, set] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches);
  useEffect(() => {
    const query = matchMedia('(prefers-color-scheme: dark)');
    const tell = () => set(query.matches);
    query.addEventListener('change', tell);
    return () => query.removeEventListener('change', tell);
  }, []);
  return theme === 'system' ? system : theme === 'dark';
}

export function useLive(props: Props): Live {
  const session = useSession();
  const box = useRef<HTMLDivElement>(null);
  const [screen, setScreen] = useState<Screen | null>(null);
  const [state, setState] = useState<State>(() => begin({ cols: 80, rows: 24 }, props.wish));
  const [notice, setNotice] = useState('');
  const [ctrl, setCtrl] = useState(false);
  const [fontSize, setFontSize] = usePref('fontSize');
  const [chosen] = usePref('terminalTheme');
  const [screenReaderMode] = usePref('screenReader');
  const theme = themes[schemeOf(chosen, usePageIsDark())];
  const connection = useRef<Connection | null>(null);
  // What the handlers of a session that lives longer than one rendering look at.
  const now = useRef({ props, ctrl, fontSize, theme, session, setFontSize });
  now.current = { props, ctrl, fontSize, theme, session, setFontSize };

  useEffect(() => {
    const { props: first, fontSize: size, theme: colours, session: who } = now.current;
    const { id, wish } = first;
    let target = wishName(wish);
    const readOnly = wish.mode === 'observer';
    const made = makeScreen(box.current!, { fontSize: size, theme: colours, label: strings.screen(target), readOnly });
    const { term } = made;
    const setup = { wish, places: places(location.origin, who.web_addrs, who.node), csrf: who.csrf, resume: who.resume };
    let gone = false;
    let replay = { until: 0, bytes: 0 };
    const hear = (effect: Extract<Effect, { do: 'opened' | 'notice' | 'ended' }>) => {
      if (gone) return;
      const { change } = now.current.props;
      if (effect.do === 'notice') setNotice(effect.text);
      if (effect.do === 'ended') change({ is: 'ended', pane: id, note: endNote(target, effect) });
      if (effect.do !== 'opened') return;
      const { opened, first: firstTime } = effect;
      // The node shows once more what was on the screen.
      if (!firstTime) made.clear();
      replay = opened.again || wish.mode ? { until: performance.now() + replayMs, bytes: replayMost } : { until: 0, bytes: 0 };
      const lost = !wish.mode && !opened.again && (Boolean(wish.session) || !firstTime);
      setNotice(lost ? strings.newShell : '');
      change({ is: 'session', pane: id, session: opened.session, host: opened.host || wish.host, login: opened.login || wish.login });
      target = wishName({ ...wish, host: opened.host || wish.host, login: opened.login || wish.login });
      if (now.current.props.active) term.focus();
    };
    const wire = new Connection(setup, { cols: term.cols, rows: term.rows }, {
      onOutput: (bytes, done) => {
        const replayed = replay.bytes > 0 && performance.now() < replay.until;
        replay.bytes -= bytes.length;
        made.write(bytes, replayed, done);
      },
      onEffect: hear,
      onState: (next) => !gone && setState(next),
    });
    connection.current = wire;
    const send = (text: string) => {
      if (!readOnly) wire.type(encoder.encode(text));
    };
    term.onData((text) => {
      const held = now.current.ctrl;
      if (held) setCtrl(false);
      send(held ? withCtrl(text) : text);
    });
    term.onBinary((text) => !readOnly && wire.type(Uint8Array.from(text, (char) => char.charCodeAt(0))));
    term.onResize((cells) => wire.resize(cells));
    term.attachCustomKeyEventHandler((event) => {
      const cut = shortcut(event);
      if (!cut) return true;
      // The browser pastes by itself when nobody stops the key.
      if (cut.do === 'paste') return false;
      event.preventDefault();
      if (event.type !== 'keydown') return false;
      if (cut.do === 'copy' && term.hasSelection()) void copyText(term.getSelection());
      if (cut.do === 'search') now.current.props.onSearch();
      if (cut.do === 'font') {
        const next = cut.by === 0 ? fontSizes.usual : now.current.fontSize + cut.by;
        now.current.setFontSize(Math.min(fontSizes.most, Math.max(fontSizes.least, next)));
      }
      return false;
    });
    setScreen(made);
    // Not at once: an effect that is undone the next moment opens no session.
    const starting = setTimeout(() => wire.start());
    return () => {
      gone = true;
      clearTimeout(starting);
      first.register(id, null);
      wire.leave();
      made.dispose();
      connection.current = null;
      setScreen(null);
    };
  }, []);

  useEffect(() => {
    if (!screen) return;
    screen.term.options.fontSize = fontSize;
    screen.term.options.theme = theme;
    screen.term.options.screenReaderMode = screenReaderMode;
    screen.fit.fit();
  }, [screen, fontSize, theme, screenReaderMode]);

  const { id, register, active } = props;
  const { phase, latency } = state;
  useEffect(() => {
    const wire = connection.current;
    if (!screen || !wire || !active) return;
    register(id, {
      wish: now.current.props.wish, screen,
      state: () => wire.state,
      send: (text) => wire.type(encoder.encode(text)),
      focus: () => screen.term.focus(),
      toggleSearch: () => now.current.props.onSearch(),
      showFiles: () => now.current.props.onFiles(),
    });
  }, [screen, phase, latency, active, id, register]);

  const phone = useCallback((key: PhoneKey) => {
    const term = screen?.term;
    if (!term) return;
    term.input(phoneKey(key, term.modes.applicationCursorKeysMode));
    term.focus();
  }, [screen]);

  return {
    box, screen, state, notice, background: theme.background, ctrl, phone,
    retry: useCallback(() => connection.current?.retry(), []),
    dismiss: useCallback(() => setNotice(''), []),
    toggleCtrl: useCallback(() => {
      setCtrl((was) => !was);
      screen?.term.focus();
    }, [screen]),
  };
}
