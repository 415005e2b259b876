import { useEffect } from 'react';
import type { ReactNode } from 'react';
import { app } from '../strings/app';

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title;
  }, [title]);
}

/** The head of every page: its name, what it is about, and what can be done here. Sets the title of the window. */
export function PageHeader({ title, windowTitle, about, actions, crumbs }: { title: ReactNode; windowTitle?: string; about?: ReactNode; actions?: ReactNode; crumbs?: ReactNode }) {
  useTitle(app.title(windowTitle ?? (typeof title === 'string' ? title : app.name)));
  return (
    <div className="page-head">
      <div className="grow">
        {crumbs && <div className="crumbs">{crumbs}</div>}
        <h1 tabIndex={-1} className="break">{title}</h1>
        {about && <p className="page-about">{about}</p>}
      </div>
      {actions && <div className="page-actions">{actions}</div>}
    </div>
  );
}

export function Page({ children, wide }: { children: ReactNode; wide?: boolean }) {
  return <div className={`page${wide ? ' page-wide' : ''}`}>{children}</div>;
}

/** A framed part of a page, with a heading. */
export function Panel({ title, actions, children, about, flush }: { title?: ReactNode; actions?: ReactNode; about?: ReactNode; children?: ReactNode; flush?: boolean }) {
  return (
    <section className="panel">
      {(title || actions) && (
        <div className={`panel-head${children ? '' : ' panel-head-only'}`}>
          <div className="grow">
            {title && <h2 className="panel-title">{title}</h2>}
            {about && <p className="small soft">{about}</p>}
          </div>
          {actions}
        </div>
      )}
      {children && <div className={flush ? 'panel-flush' : 'panel-body'}>{children}</div>}
    </section>
  );
}

/** A sentence of the node, in which `commands` stand between backticks. */
export function Ticks({ text }: { text: string }) {
  return <>{text.split('`').map((part, n) => (n % 2 ? <code key={n}>{part}</code> : part))}</>;
}

/** Names and values below each other. */
export function Facts({ items }: { items: [name: string, value: ReactNode][] }) {
  return (
    <dl className="facts">
      {items.map(([name, value]) => <div key={name} className="fact"><dt>{name}</dt><dd className="break">{value}</dd></div>)}
    </dl>
  );
}

/** Text as it is: YAML, JSON, a command. */
export function Code({ text, label, actions }: { text: string; label: string; actions?: ReactNode }) {
  return (
    <div className="code">
      {actions && <div className="code-actions">{actions}</div>}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard */}
      <pre tabIndex={0} role="region" aria-label={label}>{text}</pre>
    </div>
  );
}
