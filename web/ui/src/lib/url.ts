import { useCallback, useMemo } from 'react';
import { useLocation, useSearch } from 'wouter';

export type Patch = Record<string, string | undefined>;

/** The search part of an address with some parameters set, and those that are empty left out. */
export function patched(search: string, patch: Patch): string {
  const params = new URLSearchParams(search);
  for (const [name, value] of Object.entries(patch)) {
    if (value) params.set(name, value);
    else params.delete(name);
  }
  const text = params.toString();
  return text ? `?${text}` : '';
}

/**
 * What a page is set to lives in the address: `const [params, set] = useParams()`, `params.get('q')`,
 * `set({ q: 'web' })`. Typing replaces the entry in the history; choosing (`push`) adds one.
 */
export function useUrlParams(): [URLSearchParams, (patch: Patch, how?: 'replace' | 'push') => void] {
  const search = useSearch();
  const [path, go] = useLocation();
  const params = useMemo(() => new URLSearchParams(search), [search]);
  const set = useCallback(
    (patch: Patch, how: 'replace' | 'push' = 'replace') => go(path + patched(window.location.search, patch) + window.location.hash, { replace: how === 'replace' }),
    [path, go],
  );
  return [params, set];
}

/**
 * Where to go after signing in: a path on this very origin, or the start page. What an address says is not to be
 * trusted: `//other.example`, `/\other.example`, `javascript:` and their encoded or padded kin lead elsewhere.
 */
export function returnPath(asked: string | null, origin: string): string {
  const home = '/hosts';
   
  if (!asked || /[\u0000-\u0020\u007f\\]/.test(asked) || !/^\/(?!\/)/.test(asked)) return home;
  let url: URL;
  try {
    url = new URL(asked, origin);
  } catch {
    return home;
  }
  if (url.origin !== origin || url.username || url.password) return home;
  // A path that begins with two slashes after the dots are resolved (`/.//other.example`) is another host again.
  if (url.pathname.startsWith('//') || /^\/(signin|v1)(\/|$)/.test(url.pathname)) return home;
  return url.pathname + url.search + url.hash;
}
