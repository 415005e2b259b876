import type { ReactNode } from 'react';
import { useLocation } from 'wouter';
import type { ApiError, Pages } from '../../api';
import { editPath, type ListedKind, type Section, type Shown } from '../../admin/kinds';
import { useMay } from '../../app/session';
import { useUrlParams } from '../../lib/url';
import { admin } from '../../strings/admin';
import { Empty, IconSearch, Note, Page, PageHeader, SearchField, Table, type Column } from '../../ui';

type Props<K extends ListedKind> = {
  section: Exclude<Section, 'policies'>;
  kind: K;
  records: Pages<Shown<K>>;
  columns: Column<Shown<K>>[];
  /** What is searched of a record beside its name. */
  words: (record: Shown<K>) => string;
  actions: ReactNode;
  empty: ReactNode;
  error?: ApiError;
  children?: ReactNode;
  /** Rows open the editor. */
  opens?: boolean;
};

/** A page with all records of a kind: what all six have in common. */
export function RecordList<K extends ListedKind>({ section, kind, records, columns, words, actions, empty, children, opens = true }: Props<K>) {
  const { title, about } = admin.sections[section];
  const forbidden = useMay(kind, 'list');
  const [params, set] = useUrlParams();
  const [, go] = useLocation();
  const query = (params.get('q') ?? '').trim().toLowerCase();
  const rows = query === '' ? records.data : records.data?.filter((record) => [record.metadata.name, record.metadata.description, words(record)].join(' ').toLowerCase().includes(query));
  return (
    <Page>
      <PageHeader title={title} about={about} actions={actions} />
      {forbidden
        ? <Note tone="plain">{forbidden}</Note>
        : (
          <>
            <div className="filters"><SearchField label={admin.search} value={params.get('q') ?? ''} onValue={(q) => set({ q })} /></div>
            <Table
              label={title} columns={columns} rows={rows} rowKey={(record) => record.metadata.name} error={records.error} retry={records.reload}
              empty={query === '' ? empty : <Empty icon={<IconSearch size={32} />} title={admin.nothingFits}>{records.more ? admin.loadedOnly : undefined}</Empty>}
              more={records.more} loadingMore={records.loadingMore} loadMore={records.loadMore}
              onRow={opens ? (record) => go(editPath(section, record.metadata.name)) : undefined}
            />
          </>
        )}
      {children}
    </Page>
  );
}
