import { useEffect, useState } from 'react';
import type { ReactNode } from 'react';
import { exact, relative } from '../lib/format';
import { app, ui } from '../strings/app';
import { Button, IconButton } from './Button';
import { IconCheck, IconClose, IconCopy } from './icons';
import type { Tone } from './Note';
import { Tooltip } from './Tooltip';

/** A word about the state of something. The colour is never all that says it. */
export function Badge({ tone = 'plain', children, dot, title }: { tone?: Tone; children: ReactNode; dot?: boolean; title?: string }) {
  return <span className={`badge badge-${tone}`} title={title}>{dot && <span className="dot" aria-hidden="true" />}{children}</span>;
}

/** A label, a filter, a login: with `onClick` it is a button, with `onRemove` it has a cross. */
export function Chip({ children, onClick, onRemove, removeLabel, active, title }: { children: ReactNode; onClick?: () => void; onRemove?: () => void; removeLabel?: string; active?: boolean; title?: string }) {
  const body = <span className="chip-text">{children}</span>;
  return (
    <span className={`chip${active ? ' chip-active' : ''}`}>
      {onClick ? <button type="button" className="chip-button" aria-pressed={active} onClick={onClick} title={title}>{body}</button> : <span className="chip-plain" title={title}>{body}</span>}
      {onRemove && <button type="button" className="chip-cross" aria-label={removeLabel ?? ui.clear} onClick={onRemove}><IconClose size={12} /></button>}
    </span>
  );
}

// One clock for every <Time> on the page.
const clock = { listeners: new Set<() => void>(), timer: undefined as ReturnType<typeof setInterval> | undefined };

export function useNow(): Date {
  const [now, set] = useState(() => new Date());
  useEffect(() => {
    const tell = () => set(new Date());
    clock.listeners.add(tell);
    clock.timer ??= setInterval(() => clock.listeners.forEach((one) => one()), 10_000);
    return () => {
      clock.listeners.delete(tell);
      if (clock.listeners.size === 0) {
        clearInterval(clock.timer);
        clock.timer = undefined;
      }
    };
  }, []);
  return now;
}

/** A moment: how long ago, with the exact time as its title; or the exact time itself. */
export function Time({ at, show = 'relative' }: { at: string | null | undefined; show?: 'relative' | 'exact' }) {
  const now = useNow();
  if (!at) return <span className="faint">–</span>;
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) return <>{at}</>;
  return (
    <time dateTime={at} title={exact(time, true)} className="nowrap">
      {show === 'exact' ? exact(time) : relative(time, now)}
    </time>
  );
}

/** Holds the place of what is on its way. */
export function Skeleton({ width = '100%', height, lines = 1 }: { width?: string; height?: string; lines?: number }) {
  return (
    <>
      {Array.from({ length: lines }, (_, n) => (
        <span key={n} className="skeleton" aria-hidden="true" style={{ width: lines > 1 && n === lines - 1 ? '60%' : width, height }} />
      ))}
    </>
  );
}

/** A whole page that is on its way. */
export function PageSkeleton() {
  return (
    <div className="page" role="status" aria-label={app.loading}>
      <Skeleton width="180px" height="28px" />
      <div className="page-skeleton"><Skeleton lines={8} height="16px" /></div>
    </div>
  );
}

export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

export function CopyButton({ text, label = ui.copy, withText }: { text: string; label?: string; withText?: boolean }) {
  const [done, set] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => set(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = () => void copyText(text).then(set);
  const icon = done ? <IconCheck /> : <IconCopy />;
  return (
    <>
      {withText
        ? <Button size="small" icon={icon} onClick={copy}>{done ? ui.copied : label}</Button>
        : <IconButton size="small" icon={icon} label={done ? ui.copied : label} onClick={copy} />}
      <span className="sr" role="status">{done ? ui.copied : ''}</span>
    </>
  );
}

/** A dot that says whether something is there now, with the words beside it for those who do not see it. */
export function Presence({ state, label }: { state: 'on' | 'off' | 'unknown'; label: string }) {
  return <Tooltip text={label}><span className={`presence presence-${state}`} role="img" aria-label={label} /></Tooltip>;
}
