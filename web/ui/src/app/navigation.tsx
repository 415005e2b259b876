import type { ReactElement } from 'react';
import { nav } from '../strings/app';
import { IconAudit, IconCluster, IconHelp, IconHost, IconInfo, IconLock, IconNodes, IconPolicy, IconRecord, IconRole, IconSession, IconTerminal, IconToken, IconUser } from '../ui';

export type Place = { path: string; label: string; icon: ReactElement; newTab?: boolean };
export type Group = { label: string; places: Place[] };

/** Everything one can go to: the navigation and the palette both show it. */
export const groups: Group[] = [
  {
    label: nav.groups.access,
    places: [
      { path: '/hosts', label: nav.hosts, icon: <IconHost /> },
      { path: '/clusters', label: nav.clusters, icon: <IconCluster /> },
      { path: '/terminal', label: nav.terminal, icon: <IconTerminal />, newTab: true },
    ],
  },
  {
    label: nav.groups.activity,
    places: [
      { path: '/sessions', label: nav.sessions, icon: <IconSession /> },
      { path: '/audit', label: nav.audit, icon: <IconAudit /> },
    ],
  },
  {
    label: nav.groups.admin,
    places: [
      { path: '/admin/users', label: nav.users, icon: <IconUser /> },
      { path: '/admin/roles', label: nav.roles, icon: <IconRole /> },
      { path: '/admin/locks', label: nav.locks, icon: <IconLock /> },
      { path: '/admin/tokens', label: nav.tokens, icon: <IconToken /> },
      { path: '/admin/hosts', label: nav.hostRecords, icon: <IconRecord /> },
      { path: '/admin/policies', label: nav.policies, icon: <IconPolicy /> },
    ],
  },
  {
    label: nav.groups.system,
    places: [
      { path: '/cluster', label: nav.cluster, icon: <IconNodes /> },
      { path: '/help', label: nav.help, icon: <IconHelp /> },
      { path: '/about', label: nav.about, icon: <IconInfo /> },
    ],
  },
];

/** Whether a place is where one is, or above it. */
export function isAt(place: string, location: string): boolean {
  return location === place || location.startsWith(`${place}/`);
}
