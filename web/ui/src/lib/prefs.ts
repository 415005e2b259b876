// Preferences, the only thing that this browser remembers by itself. Never a secret, nothing that a session needs.
import { useSyncExternalStore } from 'react';

type Prefs = {
  theme: 'system' | 'light' | 'dark';
  fontSize: number;
  terminalTheme: 'page' | 'dark' | 'light' | 'contrast';
  pinned: string[];
  screenReader: boolean;
};

const defaults: Prefs = { theme: 'system', fontSize: 14, terminalTheme: 'dark', pinned: [], screenReader: false };
const listeners = new Set<() => void>();
const cache = new Map<string, unknown>();

function read<K extends keyof Prefs>(name: K): Prefs[K] {
  if (!cache.has(name)) {
    let value: unknown = null;
    try {
      // eslint-disable-next-line no-restricted-globals -- this is the one place that may
      value = JSON.parse(localStorage.getItem(`palisade.${name}`) ?? 'null');
    } catch {
      // Storage is forbidden or damaged: the default it is.
    }
    const usual = defaults[name];
    cache.set(name, typeof value === typeof usual && Array.isArray(value) === Array.isArray(usual) ? value : usual);
  }
  return cache.get(name) as Prefs[K];
}

export function setPref<K extends keyof Prefs>(name: K, value: Prefs[K]): void {
  cache.set(name, value);
  try {
    // eslint-disable-next-line no-restricted-globals -- this is the one place that may
    localStorage.setItem(`palisade.${name}`, JSON.stringify(value));
  } catch {
    // It holds for this page then.
  }
  for (const tell of listeners) tell();
}

function subscribe(tell: () => void): () => void {
  listeners.add(tell);
  const other = (event: StorageEvent) => {
    if (event.key?.startsWith('palisade.')) {
      cache.delete(event.key.slice('palisade.'.length));
      tell();
    }
  };
  window.addEventListener('storage', other);
  return () => {
    listeners.delete(tell);
    window.removeEventListener('storage', other);
  };
}

export function usePref<K extends keyof Prefs>(name: K): [Prefs[K], (value: Prefs[K]) => void] {
  const value = useSyncExternalStore(subscribe, () => read(name));
  return [value, (next) => setPref(name, next)];
}
