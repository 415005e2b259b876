import type { ReactNode } from 'react';
import type { ApiError } from '../api/error';
import { ui } from '../strings/app';
import { Button } from './Button';
import { IconError, IconInfo, IconOk, IconWarn } from './icons';

export type Tone = 'info' | 'ok' | 'warn' | 'bad' | 'plain';

const icons = { info: IconInfo, plain: IconInfo, ok: IconOk, warn: IconWarn, bad: IconError };

/** A message within the page. Something bad is read out at once. */
export function Note({ tone = 'info', title, children, actions }: { tone?: Tone; title?: ReactNode; children?: ReactNode; actions?: ReactNode }) {
  const Icon = icons[tone];
  return (
    <div className={`note note-${tone}`} role={tone === 'bad' ? 'alert' : undefined}>
      <Icon />
      <div className="grow break">
        {title && <div className="note-title">{title}</div>}
        {children}
      </div>
      {actions}
    </div>
  );
}

/** In place of what could not be loaded: what happened, and the way on. */
export function Failed({ error, retry, title = ui.failed }: { error: ApiError; retry?: () => void; title?: string }) {
  return (
    <Note tone="bad" title={title} actions={retry && <Button size="small" onClick={retry}>{ui.retry}</Button>}>
      {error.message}
    </Note>
  );
}

/** In place of a list without entries: what would be here, and how it gets here. */
export function Empty({ icon, title, children, action }: { icon?: ReactNode; title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="empty">
      {icon && <div className="empty-icon">{icon}</div>}
      <div className="empty-title">{title}</div>
      {children && <div className="empty-text">{children}</div>}
      {action}
    </div>
  );
}
