import { useLocation } from 'wouter';
import { api, call, useQuery } from '../../api';
import { POLICIES, singleton, type Policy } from '../../admin/kinds';
import { useMay } from '../../app/session';
import { admin, fieldLabels } from '../../strings/admin';
import { Button, Facts, Failed, IconEdit, Note, Page, PageHeader, Panel, Skeleton } from '../../ui';

const words = admin.policies;

export function PoliciesPage() {
  const { title, about } = admin.sections.policies;
  return (
    <Page>
      <PageHeader title={title} about={about} />
      {POLICIES.map((policy) => <PolicyPanel key={policy} policy={policy} />)}
    </Page>
  );
}

const text = (value: unknown): string => (typeof value === 'boolean' ? (value ? admin.field.yes : admin.field.no) : typeof value === 'object' ? JSON.stringify(value) : String(value).replaceAll('_', ' '));

function PolicyPanel({ policy }: { policy: Policy }) {
  const forbidden = useMay(policy, 'list');
  const [, go] = useLocation();
  const found = useQuery(forbidden ? null : ['policy', policy], (signal) =>
    // The list and not the record, which need not be there: that is no error.
    call(api.GET('/v1/records/{kind}', { params: { path: { kind: policy } }, signal })).then((page) => page.items.find((record) => record.metadata.name === singleton(policy)) ?? null),
  );
  const facts = Object.entries(found.data?.spec ?? {}).filter(([, value]) => value !== null);
  return (
    <Panel title={words[policy].title} about={words[policy].about} actions={<Button icon={<IconEdit />} size="small" forbidden={forbidden} onClick={() => go(`/admin/policies/${policy}`)}>{words.edit}</Button>}>
      {forbidden
        ? <Note tone="plain">{forbidden}</Note>
        : found.error
          ? <Failed error={found.error} retry={found.reload} />
          : found.loading
            ? <Skeleton height="36px" />
            : facts.length === 0
              ? <span className="soft">{words.unset}</span>
              : <Facts items={facts.map(([name, value]) => [fieldLabels[`spec.${name}`] ?? name.replaceAll('_', ' '), text(value)])} />}
    </Panel>
  );
}
