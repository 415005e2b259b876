import { useCallback, useEffect, useSyncExternalStore } from 'react';
import { ui } from '../strings/app';
import { IconButton, IconClose, IconError, IconOk } from '../ui';

type Toast = { id: number; tone: 'ok' | 'bad'; text: string };

let toasts: Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();

function change(next: Toast[]): void {
  toasts = next;
  for (const tell of listeners) tell();
}

/** Says in passing what has happened. What went wrong stays until it is dismissed, and belongs beside its cause if there is one. */
export function toast(text: string, tone: 'ok' | 'bad' = 'ok'): void {
  last += 1;
  change([...toasts.slice(-3), { id: last, tone, text }]);
}

export function Toasts() {
  const list = useSyncExternalStore(
    useCallback((tell: () => void) => {
      listeners.add(tell);
      return () => void listeners.delete(tell);
    }, []),
    () => toasts,
  );
  return (
    <section className="toasts" aria-label={ui.notifications} aria-live="polite">
      {list.map((one) => <ToastView key={one.id} toast={one} />)}
    </section>
  );
}

function ToastView({ toast: { id, tone, text } }: { toast: Toast }) {
  const dismiss = useCallback(() => change(toasts.filter((other) => other.id !== id)), [id]);
  useEffect(() => {
    if (tone === 'bad') return;
    const timer = setTimeout(dismiss, 5000);
    return () => clearTimeout(timer);
  }, [tone, dismiss]);
  return (
    <div className={`toast toast-${tone}`}>
      {tone === 'ok' ? <IconOk /> : <IconError />}
      <span className="grow break">{text}</span>
      <IconButton size="small" icon={<IconClose />} label={ui.dismiss} onClick={dismiss} />
    </div>
  );
}
