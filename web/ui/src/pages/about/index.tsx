import './about.css';
import { useState } from 'react';
import packages from 'virtual:licences';
import { useSession } from '../../app/session';
import { useUrlParams } from '../../lib/url';
import { about as words } from '../../strings/help';
import { Code, Dialog, Empty, Facts, IconSearch, Page, PageHeader, Panel, SearchField, Table, type Column } from '../../ui';

type Package = (typeof packages)[number];

export default function AboutPage() {
  const session = useSession();
  const [params, set] = useUrlParams();
  const [open, show] = useState<Package>();
  const query = (params.get('q') ?? '').trim().toLowerCase();
  const rows = packages.filter((one) => `${one.name} ${one.licence}`.toLowerCase().includes(query));
  const columns: Column<Package>[] = [
    { key: 'name', title: words.name, phone: 'title', cell: (one) => <span className="mono small">{one.name}</span> },
    { key: 'version', title: words.packageVersion, cell: (one) => <span className="mono small">{one.version}</span> },
    { key: 'licence', title: words.packageLicence, cell: (one) => <button type="button" className="link-button" onClick={() => show(one)}>{one.licence}</button> },
  ];
  return (
    <Page>
      <PageHeader title={words.title} about={words.lead} />
      <Panel>
        <Facts
          items={[
            [words.version, session.version],
            [words.cluster, session.cluster],
            [words.node, session.node],
            [words.licence, words.licenceName],
            [words.api, <a key="api" href="/v1/openapi.json">{words.apiLink}</a>],
          ]}
        />
      </Panel>
      <Panel title={words.packages} about={words.packagesAbout(packages.length)} flush actions={<div className="about-search"><SearchField label={words.search} value={params.get('q') ?? ''} onValue={(q) => set({ q })} /></div>}>
        <Table label={words.packages} columns={columns} rows={rows} rowKey={(one) => `${one.name}@${one.version}`} onRow={show} empty={<Empty icon={<IconSearch size={32} />} title={words.none} />} />
      </Panel>
      {open && (
        <Dialog wide open onClose={() => show(undefined)} title={words.text(`${open.name} ${open.version}`)}>
          {open.text === '' ? <p>{words.noText} {open.licence}</p> : <Code text={open.text} label={words.text(open.name)} />}
        </Dialog>
      )}
    </Page>
  );
}
