import { useEffect, useRef, useState } from 'react';
import type { ReactNode } from 'react';
import { Link, useLocation } from 'wouter';
import { usePref } from '../lib/prefs';
import { app, nav, palette } from '../strings/app';
import { Button, Drawer, IconButton, IconCheck, IconDown, IconExternal, IconMenu, IconSearch, IconSignOut, IconSun, IconUser, Menu } from '../ui';
import { Mark } from './mark';
import { groups, isAt } from './navigation';
import { usePalette } from './palette';
import { useSession, useSessionState } from './session';

/** Navigation at the side, the page beside it; on a phone the navigation is a drawer. */
export function Layout({ children }: { children: ReactNode }) {
  const [menu, setMenu] = useState(false);
  const [location] = useLocation();
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  const openPalette = usePalette();

  // After going elsewhere the keyboard starts at the new page, and a screen reader reads its heading.
  useEffect(() => {
    setMenu(false);
    if (first.current) {
      first.current = false;
      return;
    }
    main.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [location]);

  return (
    <div className="shell">
      <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>{app.skip}</a>
      <header className="topbar">
        <IconButton icon={<IconMenu size={20} />} label={app.menu} onClick={() => setMenu(true)} />
        <Brand />
        <span className="grow" />
        <IconButton icon={<IconSearch size={20} />} label={palette.open} onClick={openPalette} />
      </header>
      <aside className="sidebar" aria-label={app.menu}><Sidebar onPalette={openPalette} /></aside>
      <Drawer side="left" open={menu} onClose={() => setMenu(false)} title={app.menu}><Places /><Account /></Drawer>
      <main id="main" ref={main} tabIndex={-1} className="main">{children}</main>
    </div>
  );
}

function Brand() {
  const { cluster } = useSession();
  return (
    <Link href="/hosts" className="brand" aria-label={`${app.name}, ${cluster}`}>
      <Mark />
      <span className="clip">{cluster}</span>
    </Link>
  );
}

function Sidebar({ onPalette }: { onPalette: () => void }) {
  return (
    <div className="sidebar-in">
      <Brand />
      <button type="button" className="goto" onClick={onPalette}>
        <IconSearch />
        <span className="grow">{palette.open}</span>
        <kbd>{palette.keys}</kbd>
      </button>
      <Places />
      <Account />
    </div>
  );
}

function Places() {
  const [location] = useLocation();
  return (
    <nav className="places" aria-label={app.main}>
      {groups.map((group) => (
        <div key={group.label} className="place-group">
          <h2 className="place-heading">{group.label}</h2>
          <ul className="place-list">
            {group.places.map((place) => (
              <li key={place.path}>
                {place.newTab ? (
                  <a className="place" href={place.path} target="_blank" rel="noopener">
                    {place.icon}
                    <span className="grow">{place.label}</span>
                    <IconExternal size={12} className="faint" />
                    <span className="sr">{app.newTab}</span>
                  </a>
                ) : (
                  <Link className="place" href={place.path} aria-current={isAt(place.path, location) ? 'page' : undefined}>
                    {place.icon}
                    <span className="grow">{place.label}</span>
                  </Link>
                )}
              </li>
            ))}
          </ul>
        </div>
      ))}
    </nav>
  );
}

function Account() {
  const session = useSession();
  const { leave } = useSessionState();
  const [theme, setTheme] = usePref('theme');
  const [, go] = useLocation();
  return (
    <div className="account">
      <Menu
        align="start"
        label={nav.groups.system}
        trigger={
          <Button look="quiet" icon={<IconUser />} className="account-button">
            <span className="row"><span className="clip grow">{session.user}</span><IconDown size={12} /></span>
          </Button>
        }
        items={[
          { key: 'node', heading: `${app.node(session.node)} · ${session.version}` },
          { key: 'account', label: app.account, icon: <IconUser />, onSelect: () => go('/account') },
          { key: 'l1', line: true },
          ...(['system', 'light', 'dark'] as const).map((name) => ({
            key: name,
            label: app.themes[name],
            icon: name === theme ? <IconCheck /> : name === 'system' ? <IconSun /> : <span className="menu-blank" />,
            onSelect: () => setTheme(name),
          })),
          { key: 'l2', line: true },
          { key: 'out', label: app.signOut, icon: <IconSignOut />, onSelect: () => void leave() },
        ]}
      />
    </div>
  );
}
