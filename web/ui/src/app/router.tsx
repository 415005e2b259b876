import { lazy, Suspense } from 'react';
import type { ComponentType, ReactNode } from 'react';
import { Redirect, Route, Switch, useLocation, useSearch } from 'wouter';
import { app } from '../strings/app';
import { Empty, Failed, IconSearch, Page, PageHeader, PageSkeleton } from '../ui';
import { ConfirmProvider } from './confirm';
import { Crash } from './crash';
import { Layout } from './layout';
import { PaletteProvider } from './palette';
import { useSessionState } from './session';

const page = (load: () => Promise<{ default: ComponentType }>) => lazy(load);

const SignIn = page(() => import('../pages/signin'));
const Invite = page(() => import('../pages/invite'));
const Shared = page(() => import('../pages/shared'));
const Terminal = page(() => import('../pages/terminal'));

/** Pages inside the layout. `*?` stands for anything below: those pages have routes of their own. */
const inside: [path: string, view: ComponentType][] = [
  ['/hosts', page(() => import('../pages/hosts'))],
  ['/clusters', page(() => import('../pages/clusters'))],
  ['/account', page(() => import('../pages/account'))],
  ['/approve/:code?', page(() => import('../pages/approve'))],
  ['/cluster', page(() => import('../pages/cluster'))],
  ['/sessions', page(() => import('../pages/sessions'))],
  ['/recordings/:id', page(() => import('../pages/player'))],
  ['/audit', page(() => import('../pages/audit'))],
  ['/admin/*?', page(() => import('../pages/admin'))],
  ['/help/*?', page(() => import('../pages/help'))],
  ['/about', page(() => import('../pages/about'))],
];

export function Router() {
  return (
    <Switch>
      <Route path="/signin"><Alone><SignIn /></Alone></Route>
      <Route path="/invite/:token"><Alone><Invite /></Alone></Route>
      <Route path="/shared"><Alone><Shared /></Alone></Route>
      <Route path="/terminal"><Guard><Alone><Terminal /></Alone></Guard></Route>
      <Route path="/"><Redirect to="/hosts" replace /></Route>
      <Route><Guard><Inside /></Guard></Route>
    </Switch>
  );
}

function Alone({ children }: { children: ReactNode }) {
  return <Crash><Suspense fallback={null}>{children}</Suspense></Crash>;
}

function Inside() {
  const [location] = useLocation();
  return (
    <PaletteProvider>
      <ConfirmProvider>
        <Layout>
          <Crash at={location}>
            <Suspense fallback={<PageSkeleton />}>
              <Switch>
                {inside.map(([path, View]) => <Route key={path} path={path}><View /></Route>)}
                <Route><NotFound /></Route>
              </Switch>
            </Suspense>
          </Crash>
        </Layout>
      </ConfirmProvider>
    </PaletteProvider>
  );
}

/** Shows what is below to those who are signed in, and sends the others to sign in and back. */
function Guard({ children }: { children: ReactNode }) {
  const { state, ask } = useSessionState();
  const [path] = useLocation();
  const search = useSearch();
  if (state.is === 'asking') return null;
  if (state.is === 'failed') return <main className="page"><Failed error={state.error} retry={ask} /></main>;
  if (state.is === 'out') {
    const to = path + (search ? `?${search}` : '');
    return <Redirect to={to === '/hosts' ? '/signin' : `/signin?to=${encodeURIComponent(to)}`} replace />;
  }
  return <>{children}</>;
}

function NotFound() {
  return (
    <Page>
      <PageHeader title={app.notFound} />
      <Empty icon={<IconSearch size={32} />} title={app.notFound}>{app.notFoundHelp}</Empty>
    </Page>
  );
}
