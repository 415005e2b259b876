import { useCallback, useEffect, useRef, useState } from 'react';
import { app } from '../../strings/app';
import { terminal as strings } from '../../strings/terminal';
import { useTitle } from '../../ui';
import { shortcut } from '../../terminal/keys';
import { wishName } from '../../terminal/tabs';
import type { Tab } from '../../terminal/tabs';
import { PaneView } from './PaneView';
import { Screens } from './handles';
import { TabBar } from './TabBar';
import { useTabs } from './useTabs';
import './terminal.css';

export function nameOf(tab: Tab): string {
  const pane = tab.panes.find((one) => one.id === tab.active) ?? tab.panes[0];
  return pane?.wish ? wishName(pane.wish) : strings.picker;
}

export default function TerminalPage() {
  const [tabs, change] = useTabs();
  const screens = useRef(new Screens()).current;
  const active = tabs.tabs.find((tab) => tab.id === tabs.active)!;
  const open = active.panes.find((pane) => pane.id === active.active)?.wish;
  useTitle(open ? wishName(open) : app.title(strings.page));
  const [, redraw] = useState(0);
  useEffect(() => screens.listen(() => redraw((n) => n + 1)), [screens]);

  useEffect(() => {
    const keys = (event: KeyboardEvent) => {
      const cut = shortcut(event);
      if (cut?.do !== 'tab' && cut?.do !== 'new') return;
      event.preventDefault();
      event.stopPropagation();
      change(cut.do === 'tab' ? { is: 'number', n: cut.n } : { is: 'new' });
    };
    window.addEventListener('keydown', keys, true);
    return () => window.removeEventListener('keydown', keys, true);
  }, [change]);

  // Ctrl+W is a habit in a shell, and closes the tab of a browser.
  const busy = tabs.tabs.some((tab) => tab.panes.some((pane) => pane.wish));
  useEffect(() => {
    if (!busy) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', ask);
    return () => window.removeEventListener('beforeunload', ask);
  }, [busy]);

  useViewportHeight();

  // The pane that is shown has the keyboard.
  const paneId = active.active;
  const isOpen = Boolean(open);
  useEffect(() => {
    if (isOpen) screens.get(paneId)?.focus();
  }, [paneId, isOpen, screens]);

  const register = useCallback((id: number, handle: Parameters<Screens['set']>[1]) => screens.set(id, handle), [screens]);
  return (
    <div className="term-page">
      <TabBar tabs={tabs} change={change} handle={screens.get(active.active)} />
      <main className="term-main">
        {tabs.tabs.map((tab) => (
          <div key={tab.id} className={`panes panes-${tab.panes.length}`} hidden={tab.id !== tabs.active}>
            {tab.panes.map((pane) => (
              <PaneView key={pane.id} pane={pane} active={tab.id === tabs.active && pane.id === tab.active} split={tab.panes.length > 1} before={tab.panes.find((one) => one.wish?.login && one.id !== pane.id)?.wish ?? null} change={change} register={register} />
            ))}
          </div>
        ))}
      </main>
    </div>
  );
}

/** The keyboard of a phone covers the page instead of shrinking it, on some; the page shrinks itself then. */
function useViewportHeight(): void {
  useEffect(() => {
    const view = window.visualViewport;
    if (!view) return;
    const fit = () => {
      document.documentElement.style.setProperty('--view', `${view.height}px`);
      window.scrollTo(0, 0);
    };
    fit();
    view.addEventListener('resize', fit);
    return () => {
      view.removeEventListener('resize', fit);
      document.documentElement.style.removeProperty('--view');
    };
  }, []);
}
