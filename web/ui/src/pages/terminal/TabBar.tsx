import { Link } from 'wouter';
import { Mark } from '../../app/mark';
import { app } from '../../strings/app';
import { terminal as strings } from '../../strings/terminal';
import { IconButton, IconClose, IconFile, IconPlus, IconSearch, IconSplit, Tooltip } from '../../ui';
import { panesMost } from '../../terminal/tabs';
import type { Change, Tabs } from '../../terminal/tabs';
import type { Handle } from './handles';
import { nameOf } from './index';
import { Settings } from './Settings';

type Props = { tabs: Tabs; change: (change: Change) => void; handle: Handle | undefined };

export function TabBar({ tabs, change, handle }: Props) {
  const active = tabs.tabs.find((tab) => tab.id === tabs.active)!;
  const state = handle?.state();
  return (
    <header className="term-bar">
      <Link href="/hosts" className="term-home" aria-label={app.toHosts}><Mark /></Link>
      <ul className="term-tabs" aria-label={strings.tabs}>
        {tabs.tabs.map((tab, n) => (
          <li key={tab.id} className={`term-tab${tab.id === tabs.active ? ' term-tab-on' : ''}`}>
            <button
              type="button" aria-current={tab.id === tabs.active ? 'page' : undefined} className="term-tab-name"
              title={n < 9 ? strings.tabTip(n + 1) : undefined} onClick={() => change({ is: 'show', tab: tab.id })}
              onAuxClick={(event) => event.button === 1 && change({ is: 'close', tab: tab.id })}
            >
              <span className="clip">{nameOf(tab)}</span>
            </button>
            <button type="button" className="term-tab-close" aria-label={strings.closeTab(nameOf(tab))} onClick={() => change({ is: 'close', tab: tab.id })}><IconClose size={12} /></button>
          </li>
        ))}
      </ul>
      <IconButton size="small" icon={<IconPlus />} label={strings.newTab} onClick={() => change({ is: 'new' })} />
      <span className="grow" />
      {state?.phase === 'open' && (
        <Tooltip text={`${strings.latencyTitle}, ${strings.via(state.node)}`} side="bottom">
          <span className="term-latency">{state.latency === null ? '' : strings.latency(Math.round(state.latency))}</span>
        </Tooltip>
      )}
      <IconButton size="small" icon={<IconSearch />} label={strings.search} disabled={!handle} onClick={() => handle?.toggleSearch()} />
      <IconButton size="small" icon={<IconFile />} label={strings.files} disabled={!handle?.wish.login} onClick={() => handle?.showFiles()} />
      <IconButton size="small" icon={<IconSplit />} label={strings.split} disabled={active.panes.length >= panesMost} onClick={() => change({ is: 'split', tab: active.id })} />
      <Settings handle={handle} />
    </header>
  );
}
