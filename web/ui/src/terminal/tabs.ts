// The tabs of the terminal page and what stands in them, as a plain value; the address says it too:
// `?to=alice@web1&to=bob@db1,bob@db2&tab=2` (a comma parts the panes of a split tab, an empty one is the picker).
// `?session=<id>&mode=observer` is how other pages lead to a live session; without a mode it is one's own.
import { hostOf, parseTarget } from '../app/target';
import { terminal as strings } from '../strings/terminal';
import type { Mode, Wish } from './frames';

export type Pane = { id: number; wish: Wish | null; note?: Note };
export type Note = { tone: 'plain' | 'bad'; text: string };
export type Tab = { id: number; panes: Pane[]; active: number };
export type Tabs = { tabs: Tab[]; active: number; last: number };

export const panesMost = 4;
const modes: Mode[] = ['observer', 'moderator', 'peer'];

/** What a tab is called. Of a session that is joined the login is not known, and at first not the host either. */
export function wishName(wish: Wish): string {
  if (wish.login) return `${wish.login}@${wish.host}`;
  return wish.host || strings.session;
}

/** `login@host`, and `~observer~<session>` for one to join. */
export function wishText(wish: Wish): string {
  return wish.mode ? `~${wish.mode}~${wish.session}` : `${wish.login}@${wish.host}`;
}

const sessionId = /^[A-Za-z0-9_-]{1,64}$/;

export function parseWish(text: string): Wish | null {
  const [where = '', asked, session = ''] = text.split('~');
  const mode = modes.find((one) => one === asked);
  if (asked !== undefined) return mode && !where && sessionId.test(session) ? { login: '', host: '', session, mode } : null;
  const target = parseTarget(where);
  return target ? { login: target.login, host: hostOf(target), session: '' } : null;
}

export function fromSearch(search: string): Tabs {
  const params = new URLSearchParams(search);
  let last = 0;
  const next = () => (last += 1);
  const tabs = params.getAll('to').slice(0, 20).map((text): Tab => {
    const panes = text.split(',').slice(0, panesMost).map((one): Pane => ({ id: next(), wish: parseWish(one) }));
    return { id: next(), panes, active: panes[0]!.id };
  });
  const session = params.get('session') ?? '';
  if (sessionId.test(session)) {
    const mode = modes.find((one) => one === params.get('mode'));
    const pane: Pane = { id: next(), wish: { login: '', host: '', session, ...(mode ? { mode } : {}) } };
    tabs.push({ id: next(), panes: [pane], active: pane.id });
  }
  if (tabs.length === 0) {
    const pane = { id: next(), wish: null };
    tabs.push({ id: next(), panes: [pane], active: pane.id });
  }
  const at = Math.min(Math.max(1, Number(params.get('tab')) || 1), tabs.length);
  return { tabs, active: tabs[at - 1]!.id, last };
}

export function toSearch({ tabs, active }: Tabs): string {
  const params = new URLSearchParams();
  if (tabs.length > 1 || tabs[0]?.panes.some((pane) => pane.wish)) {
    for (const tab of tabs) params.append('to', tab.panes.map((pane) => (pane.wish ? wishText(pane.wish) : '')).join(','));
  }
  const at = tabs.findIndex((tab) => tab.id === active);
  if (at > 0) params.set('tab', String(at + 1));
  const text = params.toString().replaceAll('%40', '@').replaceAll('%2C', ',').replaceAll('%7E', '~');
  return text ? `?${text}` : '';
}

export type Change =
  | { is: 'new' }
  | { is: 'split'; tab: number }
  | { is: 'show'; tab: number }
  | { is: 'number'; n: number }
  | { is: 'focus'; pane: number }
  | { is: 'open'; pane: number; wish: Wish }
  | { is: 'session'; pane: number; session: string; host: string; login: string }
  | { is: 'ended'; pane: number; note: Note }
  | { is: 'close-pane'; pane: number }
  | { is: 'close'; tab: number };

function inPane(state: Tabs, id: number, change: (pane: Pane) => Pane): Tabs {
  return { ...state, tabs: state.tabs.map((tab) => ({ ...tab, panes: tab.panes.map((pane) => (pane.id === id ? change(pane) : pane)) })) };
}

export function changeTabs(state: Tabs, change: Change): Tabs {
  switch (change.is) {
    case 'new': {
      const pane: Pane = { id: state.last + 1, wish: null };
      const tab: Tab = { id: state.last + 2, panes: [pane], active: pane.id };
      return { tabs: [...state.tabs, tab], active: tab.id, last: state.last + 2 };
    }
    case 'split': {
      const pane: Pane = { id: state.last + 1, wish: null };
      const tabs = state.tabs.map((tab) => (tab.id === change.tab && tab.panes.length < panesMost ? { ...tab, panes: [...tab.panes, pane], active: pane.id } : tab));
      return { ...state, tabs, last: pane.id };
    }
    case 'show':
      return { ...state, active: change.tab };
    case 'number': {
      // The ninth is the last, as in a browser.
      const tab = change.n === 9 ? state.tabs.at(-1) : state.tabs[change.n - 1];
      return tab ? { ...state, active: tab.id } : state;
    }
    case 'focus':
      return { ...state, tabs: state.tabs.map((tab) => (tab.panes.some((pane) => pane.id === change.pane) && tab.active !== change.pane ? { ...tab, active: change.pane } : tab)) };
    case 'open':
      return inPane(state, change.pane, (pane) => ({ id: pane.id, wish: change.wish }));
    case 'session':
      return inPane(state, change.pane, (pane) => (pane.wish ? { ...pane, wish: { ...pane.wish, session: change.session, host: change.host, login: change.login } } : pane));
    case 'ended':
      return inPane(state, change.pane, (pane) => ({ id: pane.id, wish: null, note: change.note }));
    case 'close-pane': {
      const tab = state.tabs.find((one) => one.panes.some((pane) => pane.id === change.pane));
      if (!tab) return state;
      if (tab.panes.length === 1) return changeTabs(state, { is: 'close', tab: tab.id });
      const panes = tab.panes.filter((pane) => pane.id !== change.pane);
      const active = tab.active === change.pane ? panes.at(-1)!.id : tab.active;
      return { ...state, tabs: state.tabs.map((one) => (one.id === tab.id ? { ...tab, panes, active } : one)) };
    }
    case 'close': {
      const at = state.tabs.findIndex((tab) => tab.id === change.tab);
      const tabs = state.tabs.filter((tab) => tab.id !== change.tab);
      if (tabs.length === 0) return changeTabs({ ...state, tabs }, { is: 'new' });
      const active = state.active === change.tab ? tabs[Math.min(at, tabs.length - 1)]!.id : state.active;
      return { ...state, tabs, active };
    }
  }
}
