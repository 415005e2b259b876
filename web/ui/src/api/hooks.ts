import { useCallback, useEffect, useRef, useState } from 'react';
import { ApiError, isAbort } from './error';
import { errors } from '../strings/app';

export type Query<T> = {
  /** What came last. It stays while something newer is on its way. */
  data: T | undefined;
  error: ApiError | undefined;
  /** Nothing has come yet. */
  loading: boolean;
  /** Something newer is on its way. */
  refreshing: boolean;
  reload: () => void;
};

export type QueryOptions = {
  /** Asks again after so many milliseconds, as long as the page is visible. */
  poll?: number;
  /** Keeps what the former key showed until the new answer is there; without it the page goes back to loading. */
  keep?: boolean;
};

export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(0, 'unknown', error instanceof Error ? error.message : errors.unknown);
}

/**
 * Asks when `key` changes, and gives up what it asked before. A key of `null` asks nothing.
 * The function may be written in place: only the key decides.
 */
export function useQuery<T>(key: unknown, ask: (signal: AbortSignal) => Promise<T>, options: QueryOptions = {}): Query<T> {
  const { poll = 0, keep = false } = options;
  const id = key === null ? null : JSON.stringify(key);
  const [state, setState] = useState<{ id: string | null; data?: T; error?: ApiError; busy: boolean }>({ id: null, busy: id !== null });
  const [round, setRound] = useState(0);
  const latest = useRef(ask);
  latest.current = ask;

  useEffect(() => {
    if (id === null) return;
    const control = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const run = async () => {
      setState((old) => (old.id === id || keep ? { ...old, busy: true } : { id, busy: true }));
      try {
        const data = await latest.current(control.signal);
        if (!control.signal.aborted) setState({ id, data, busy: false });
      } catch (error) {
        if (control.signal.aborted || isAbort(error)) return;
        setState((old) => ({ ...old, id, error: asApiError(error), busy: false }));
      }
      next();
    };
    const next = () => {
      if (!poll || control.signal.aborted) return;
      timer = setTimeout(() => (document.hidden ? next() : void run()), poll);
    };
    void run();
    return () => {
      control.abort();
      clearTimeout(timer);
    };
  }, [id, round, poll, keep]);

  const reload = useCallback(() => setRound((n) => n + 1), []);
  const mine = state.id === id || keep;
  const data = mine ? state.data : undefined;
  const error = state.id === id ? state.error : undefined;
  return { data, error, loading: id !== null && data === undefined && error === undefined, refreshing: state.busy, reload };
}

export type PageOf<T> = { items: T[]; next?: string | null };

export type Pages<T> = Query<T[]> & {
  /** There is another page on the server. */
  more: boolean;
  loadingMore: boolean;
  loadMore: () => void;
};

/** A list that the server gives in pages: the first by itself, each further one when `loadMore` is called. */
export function usePages<T>(
  key: unknown,
  ask: (after: string | undefined, signal: AbortSignal) => Promise<PageOf<T>>,
  options: QueryOptions = {},
): Pages<T> {
  const first = useQuery(key, (signal) => ask(undefined, signal), options);
  const [rest, setRest] = useState<{ of: unknown; items: T[]; next?: string | null; error?: ApiError; busy: boolean }>();
  const control = useRef<AbortController | null>(null);
  const latest = useRef(ask);
  latest.current = ask;
  const mine = rest && rest.of === first.data ? rest : undefined;
  const next = mine ? mine.next : first.data?.next;

  useEffect(() => () => control.current?.abort(), [first.data]);

  const loadMore = useCallback(() => {
    if (!next || mine?.busy) return;
    const of = first.data;
    const items = mine?.items ?? [];
    const stop = (control.current = new AbortController());
    setRest({ of, items, next, busy: true });
    latest.current(next, stop.signal).then(
      (page) => setRest({ of, items: [...items, ...page.items], next: page.next, busy: false }),
      (error) => {
        if (!isAbort(error)) setRest({ of, items, next, error: asApiError(error), busy: false });
      },
    );
  }, [first.data, mine, next]);

  return {
    ...first,
    data: first.data && (mine ? [...first.data.items, ...mine.items] : first.data.items),
    error: first.error ?? mine?.error,
    more: Boolean(next),
    loadingMore: mine?.busy ?? false,
    loadMore,
  };
}

export type Action<A extends unknown[]> = {
  run: (...args: A) => Promise<boolean>;
  busy: boolean;
  error: ApiError | undefined;
  reset: () => void;
};

/** A change: one at a time, with what went wrong. `run` says whether it went well. */
export function useAction<A extends unknown[]>(act: (...args: A) => Promise<unknown>): Action<A> {
  const [state, setState] = useState<{ busy: boolean; error?: ApiError }>({ busy: false });
  const latest = useRef(act);
  latest.current = act;
  const running = useRef(false);
  const run = useCallback(async (...args: A) => {
    if (running.current) return false;
    running.current = true;
    setState({ busy: true });
    try {
      await latest.current(...args);
      setState({ busy: false });
      return true;
    } catch (error) {
      setState({ busy: false, error: isAbort(error) ? undefined : asApiError(error) });
      return false;
    } finally {
      running.current = false;
    }
  }, []);
  const reset = useCallback(() => setState({ busy: false }), []);
  return { run, busy: state.busy, error: state.error, reset };
}
