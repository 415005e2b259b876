import { createContext, useCallback, useContext, useEffect, useMemo, useState } from 'react';
import type { ReactNode } from 'react';
import { asApiError, json, setCsrf, whenSignedOut } from '../api';
import type { WebSession , ApiError} from '../api';
import { allowed } from './may';

type State =
  | { is: 'asking' }
  | { is: 'out' }
  | { is: 'in'; session: WebSession }
  | { is: 'failed'; error: ApiError };

type Held = { state: State; enter: (session: WebSession) => void; leave: () => Promise<void>; ask: () => void };

const Context = createContext<Held | null>(null);

/** Knows who sits there. Everything that needs a session stands below `Guard`. */
export function SessionProvider({ children }: { children: ReactNode }) {
  const [state, setState] = useState<State>({ is: 'asking' });

  const enter = useCallback((session: WebSession) => {
    setCsrf(session.csrf);
    setState({ is: 'in', session });
  }, []);

  const ask = useCallback(() => {
    setState((old) => (old.is === 'in' ? old : { is: 'asking' }));
    json<WebSession>('GET', '/v1/web/session').then(enter, (error: unknown) => {
      const why = asApiError(error);
      setState(why.signedOut ? { is: 'out' } : { is: 'failed', error: why });
    });
  }, [enter]);

  const leave = useCallback(async () => {
    await json('POST', '/v1/web/logout').catch(() => undefined);
    setCsrf('');
    setState({ is: 'out' });
  }, []);

  useEffect(() => {
    whenSignedOut(() => {
      setCsrf('');
      setState({ is: 'out' });
    });
    ask();
  }, [ask]);

  const held = useMemo(() => ({ state, enter, leave, ask }), [state, enter, leave, ask]);
  return <Context.Provider value={held}>{children}</Context.Provider>;
}

export function useSessionState(): Held {
  const held = useContext(Context);
  if (!held) throw new Error('there is no SessionProvider above');
  return held;
}

/** The session of whoever is signed in. Only below `Guard`. */
export function useSession(): WebSession {
  const { state } = useSessionState();
  if (state.is !== 'in') throw new Error('there is no session here');
  return state.session;
}

/** Why this person may not do it, or undefined: `<Button forbidden={useMay('role', 'create')}>`. */
export function useMay(resource: string, verb: string): string | undefined {
  return allowed(useSession().may, resource, verb);
}
