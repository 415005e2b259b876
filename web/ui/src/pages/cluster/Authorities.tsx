import { api, call, useQuery } from '../../api';
import type { Schema } from '../../api';
import { ofKind } from '../../admin/kinds';
import { useMay } from '../../app/session';
import { cluster as strings } from '../../strings/cluster';
import { Badge, CopyButton, Empty, IconLock, Note, Panel, Table, Time } from '../../ui';
import type { Column } from '../../ui';
import { certTone } from './judge';

type Authority = { name: string; type: string; pin: string; created: string; ends?: Schema<'CertificateEnd'> };

/** The state of the authorities: who vouches for what, since when, and until when. */
export function Authorities({ ends }: { ends: Schema<'CertificateEnd'>[] }) {
  const why = useMay('cert_authority', 'list');
  const list = useQuery(why ? null : 'authorities', (signal) => call(api.GET('/v1/records/{kind}', { params: { path: { kind: 'cert_authority' } }, signal })));
  const rows = list.data && ofKind(list.data.items, 'cert_authority').map(({ metadata, spec }): Authority => {
    return { name: metadata.name, type: spec.type, pin: spec.pin, created: spec.created, ends: ends.find((end) => end.what === `${spec.type} authority`) };
  });
  const columns: Column<Authority>[] = [
    { key: 'name', title: strings.authority, phone: 'title', cell: (row) => <span className="two-lines"><strong>{strings.authorityNames[row.type] ?? row.name}</strong><span className="xs faint">{strings.authorityAbout[row.type]}</span></span> },
    { key: 'pin', title: strings.pin, width: '40%', cell: (row) => <span className="row pin-cell"><code className="clip" title={row.pin}>{row.pin}</code><CopyButton text={row.pin} label={strings.copyPin} /></span> },
    { key: 'created', title: strings.created, cell: (row) => <Time at={row.created} /> },
    { key: 'ends', title: strings.ends, cell: (row) => (row.ends ? <Badge tone={certTone(row.ends.what, row.ends.days_left)}>{strings.certDays(row.ends.days_left)}</Badge> : <span className="faint">{strings.never}</span>) },
  ];
  return (
    <Panel title={strings.authorities} about={strings.authoritiesAbout} flush={!why}>
      {why
        ? <Note tone="plain">{why}</Note>
        : <Table label={strings.authorities} columns={columns} rows={rows} rowKey={(row) => row.name} error={list.error} retry={list.reload} expect={5} empty={<Empty icon={<IconLock size={32} />} title={strings.noAuthorities} />} />}
    </Panel>
  );
}
