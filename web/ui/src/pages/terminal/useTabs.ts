import { useCallback, useEffect, useReducer } from 'react';
import { changeTabs, fromSearch, toSearch, wishText } from '../../terminal/tabs';
import type { Change, Pane, Tabs } from '../../terminal/tabs';

// Session ids live beside the address, in the history's entry: a page that is loaded again takes its own sessions up,
// and an address that is handed on gives none away.
type Kept = { sessions?: Record<string, string> };

const key = (tab: number, pane: number, target: string) => `${tab}.${pane} ${target}`;

function eachPane(tabs: Tabs, visit: (pane: Pane, key: string) => Pane): Tabs {
  return {
    ...tabs,
    tabs: tabs.tabs.map((tab, t) => ({ ...tab, panes: tab.panes.map((pane, p) => (pane.wish && !pane.wish.mode ? visit(pane, key(t, p, wishText(pane.wish))) : pane)) })),
  };
}

function isReload(): boolean {
  const [entry] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[];
  return entry?.type === 'reload';
}

function load(): Tabs {
  const tabs = fromSearch(location.search);
  const kept = ((history.state as Kept | null)?.sessions ?? {}) as Record<string, string>;
  if (!isReload()) return tabs;
  return eachPane(tabs, (pane, at) => ({ ...pane, wish: { ...pane.wish!, session: kept[at] ?? '' } }));
}

function save(tabs: Tabs): void {
  const sessions: Record<string, string> = {};
  eachPane(tabs, (pane, at) => {
    if (pane.wish!.session) sessions[at] = pane.wish!.session;
    return pane;
  });
  history.replaceState({ sessions } satisfies Kept, '', location.pathname + toSearch(tabs));
}

export function useTabs(): [Tabs, (change: Change) => void] {
  const [tabs, dispatch] = useReducer(changeTabs, null, load);
  useEffect(() => save(tabs), [tabs]);
  return [tabs, useCallback((change: Change) => dispatch(change), [])];
}
