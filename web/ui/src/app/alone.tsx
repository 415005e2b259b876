import type { ReactNode } from 'react';
import { useTitle } from '../ui';
import { app } from '../strings/app';
import { Mark } from './mark';
import './alone.css';

/** A page that stands by itself in the middle: signing in and what comes before. */
export function AloneCard({ title, about, children, foot }: { title: string; about?: ReactNode; children: ReactNode; foot?: ReactNode }) {
  useTitle(app.title(title));
  return (
    <main className="alone">
      <div className="alone-card">
        <Mark size={32} />
        <div>
          <h1 className="break">{title}</h1>
          {about && <p className="soft alone-about">{about}</p>}
        </div>
        {children}
      </div>
      <p className="alone-foot faint xs">{foot}</p>
    </main>
  );
}
