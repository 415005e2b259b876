import { Redirect, useParams } from 'wouter';
import { readPlace } from '../../admin/kinds';
import { app } from '../../strings/app';
import { Empty, IconSearch, Page, PageHeader } from '../../ui';
import { RecordEditor } from './editor';
import { HostsPage } from './hosts';
import { LocksPage } from './locks';
import { PoliciesPage } from './policies';
import { RolesPage } from './roles';
import { TokensPage } from './tokens';
import { UsersPage } from './users';
import './admin.css';

const lists = { users: UsersPage, roles: RolesPage, locks: LocksPage, tokens: TokensPage, hosts: HostsPage, policies: PoliciesPage };

export default function AdminPage() {
  const path = useParams()['*'] ?? '';
  if (path === '') return <Redirect to="/admin/users" replace />;
  const place = readPlace(path);
  if (place === undefined) {
    return <Page><PageHeader title={app.notFound} /><Empty icon={<IconSearch size={32} />} title={app.notFound}>{app.notFoundHelp}</Empty></Page>;
  }
  if (place.kind !== undefined && place.name !== undefined) return <RecordEditor key={path} section={place.section} kind={place.kind} name={place.name} />;
  const List = lists[place.section];
  return <List />;
}
