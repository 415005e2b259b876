import * as Radix from '@radix-ui/react-dialog';
import { createContext, useCallback, useContext, useEffect, useMemo, useState } from 'react';
import type { KeyboardEvent, ReactNode } from 'react';
import { useLocation } from 'wouter';
import { api, call, useQuery } from '../api';
import { app, palette as strings } from '../strings/app';
import { IconHost, IconSearch, IconTerminal } from '../ui';
import { groups } from './navigation';
import { hostOf, openTerminal, parseTarget } from './target';

const Context = createContext<() => void>(() => {});
export const usePalette = () => useContext(Context);

/** Ctrl+K (or ⌘K) anywhere: a page, a host, or `login@host` to connect at once. */
export function PaletteProvider({ children }: { children: ReactNode }) {
  const [open, setOpen] = useState(false);
  const show = useCallback(() => setOpen(true), []);
  useEffect(() => {
    const key = (event: globalThis.KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === 'k') {
        event.preventDefault();
        setOpen((was) => !was);
      }
    };
    window.addEventListener('keydown', key);
    return () => window.removeEventListener('keydown', key);
  }, []);
  return (
    <Context.Provider value={show}>
      {children}
      <Radix.Root open={open} onOpenChange={setOpen}>
        <Radix.Portal>
          <Radix.Overlay className="scrim" />
          <Radix.Content className="palette" aria-describedby={undefined}>
            <Radix.Title className="sr">{strings.title}</Radix.Title>
            <Palette onClose={() => setOpen(false)} />
          </Radix.Content>
        </Radix.Portal>
      </Radix.Root>
    </Context.Provider>
  );
}

type Entry = { key: string; label: string; note?: string; icon: ReactNode; go: () => void };

function useEntries(text: string, go: (path: string) => void): Entry[] {
  const [asked, setAsked] = useState('');
  useEffect(() => {
    const timer = setTimeout(() => setAsked(text.trim()), 150);
    return () => clearTimeout(timer);
  }, [text]);
  const hosts = useQuery(asked && !asked.includes('@') ? ['palette', asked] : null, (signal) => call(api.GET('/v1/hosts', { params: { query: { search: asked, limit: 6 } }, signal })), { keep: true });

  return useMemo(() => {
    const wanted = text.trim().toLowerCase();
    const entries: Entry[] = [];
    const target = parseTarget(text);
    if (target) {
      const label = strings.connect(`${target.login}@${hostOf(target)}`);
      entries.push({ key: 'to', label, icon: <IconTerminal />, go: () => openTerminal(target.login, hostOf(target)) });
    }
    for (const group of groups) {
      for (const place of group.places) {
        if (!place.label.toLowerCase().includes(wanted)) continue;
        const open = () => (place.newTab ? void window.open(place.path, '_blank', 'noopener') : go(place.path));
        entries.push({ key: place.path, label: place.label, note: group.label, icon: place.icon, go: open });
      }
    }
    if ('account'.includes(wanted)) entries.push({ key: '/account', label: app.account, icon: <IconSearch />, go: () => go('/account') });
    for (const host of wanted && !wanted.includes('@') ? (hosts.data?.items ?? []) : []) {
      for (const login of host.logins.slice(0, 3)) {
        entries.push({ key: `${login}@${host.name}`, label: `${login}@${host.name}`, note: host.addr, icon: <IconHost />, go: () => openTerminal(login, host.name) });
      }
    }
    return entries;
  }, [text, hosts.data, go]);
}

function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const [, go] = useLocation();
  const entries = useEntries(text, go);
  const here = Math.min(at, Math.max(0, entries.length - 1));
  const choose = (entry: Entry | undefined) => {
    if (!entry) return;
    onClose();
    entry.go();
  };
  const keys = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step && entries.length) {
      event.preventDefault();
      setAt((here + step + entries.length) % entries.length);
    }
    if (event.key === 'Enter') {
      event.preventDefault();
      choose(entries[here]);
    }
  };
  return (
    <>
      <div className="palette-head">
        <IconSearch />
        <input
          className="palette-input" value={text} placeholder={strings.input} aria-label={strings.input} autoComplete="off" autoCapitalize="none" spellCheck={false}
          role="combobox" aria-expanded="true" aria-controls="palette-list" aria-activedescendant={entries[here] ? `palette-${here}` : undefined}
          onChange={(event) => { setText(event.target.value); setAt(0); }} onKeyDown={keys}
        />
      </div>
      <div id="palette-list" role="listbox" aria-label={strings.title} className="palette-list">
        {entries.map((entry, n) => (
          // eslint-disable-next-line jsx-a11y/click-events-have-key-events -- the keys are handled by the box above, where the focus stays
          <div key={entry.key} id={`palette-${n}`} role="option" tabIndex={-1} aria-selected={n === here} className="palette-entry" ref={n === here ? (node) => node?.scrollIntoView({ block: 'nearest' }) : undefined} onClick={() => choose(entry)} onMouseMove={() => setAt(n)}>
            {entry.icon}
            <span className="grow clip">{entry.label}</span>
            {entry.note && <span className="faint small clip">{entry.note}</span>}
          </div>
        ))}
      </div>
      {entries.length === 0 && <p className="palette-none soft">{strings.nothing}</p>}
    </>
  );
}
