// Proves again who sits there, when the node asks for it: `const sure = useConfirm(); await sure(() => change())`.
import { createContext, useCallback, useContext, useMemo, useRef, useState } from 'react';
import type { FormEvent, ReactNode } from 'react';
import { ApiError, json, useAction } from '../api';
import { confirm as strings, ui } from '../strings/app';
import { knowsPasskeys } from '../lib/webauthn';
import { Button, Dialog, Note, PasswordField } from '../ui';
import { CodeField, passkeyAnswer } from './beside';
import { useSessionState } from './session';

type Sure = <T>(change: () => Promise<T>) => Promise<T>;
const Context = createContext<Sure | null>(null);

export function useConfirm(): Sure {
  const sure = useContext(Context);
  if (!sure) throw new Error('there is no ConfirmProvider above');
  return sure;
}

/** Thrown to whoever waited when the person closed the dialog. Looks like a call that was given up: nothing to show. */
const givenUp = () => new DOMException('not confirmed', 'AbortError');

export function ConfirmProvider({ children }: { children: ReactNode }) {
  const [open, setOpen] = useState(false);
  const waiting = useRef<{ resolve: () => void; reject: (error: unknown) => void } | null>(null);

  const sure = useCallback<Sure>(async (change) => {
    try {
      return await change();
    } catch (error) {
      if (!(error instanceof ApiError && error.wantsConfirm)) throw error;
      await new Promise<void>((resolve, reject) => {
        waiting.current = { resolve, reject };
        setOpen(true);
      });
      return change();
    }
  }, []);

  const finish = useCallback((confirmed: boolean) => {
    setOpen(false);
    if (confirmed) waiting.current?.resolve();
    else waiting.current?.reject(givenUp());
    waiting.current = null;
  }, []);

  const value = useMemo(() => sure, [sure]);
  return (
    <Context.Provider value={value}>
      {children}
      {open && <ConfirmIdentity onDone={() => finish(true)} onClose={() => finish(false)} />}
    </Context.Provider>
  );
}

function ConfirmIdentity({ onDone, onClose }: { onDone: () => void; onClose: () => void }) {
  const { state } = useSessionState();
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const session = state.is === 'in' ? state.session : undefined;
  const passkeys = session?.passkeys === true && knowsPasskeys();
  const { run, busy, error } = useAction(async (by: 'code' | 'passkey') => {
    const beside = by === 'code' ? { code } : { passkey: await passkeyAnswer() };
    await json('POST', '/v1/web/confirm', { body: { password, ...beside }, proves: true });
  });
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (await run('code')) onDone();
  };
  const byPasskey = async () => {
    if (await run('passkey')) onDone();
  };
  return (
    <Dialog open title={strings.title} about={strings.why} onClose={onClose}>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        <PasswordField label={strings.password} autoComplete="current-password" autoFocus required value={password} onChange={(event) => setPassword(event.target.value)} />
        {session?.second_factor && <CodeField code={code} setCode={setCode} required />}
        {error && <Note tone="bad">{error.message}</Note>}
        <div className="dialog-foot">
          <Button onClick={onClose}>{ui.cancel}</Button>
          {passkeys && <Button busy={busy} disabled={!session?.passwordless && !password} onClick={() => void byPasskey()}>{strings.passkey}</Button>}
          <Button type="submit" look="primary" busy={busy}>{strings.go}</Button>
        </div>
      </form>
    </Dialog>
  );
}
