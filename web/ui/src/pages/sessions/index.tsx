import { useMay } from '../../app/session';
import { sessions as words } from '../../strings/sessions';
import { Note, Page, PageHeader } from '../../ui';
import { Recordings } from './ended';
import { LiveSessions } from './live';
import './sessions.css';

export default function SessionsPage() {
  const mayNotList = useMay('recording', 'list');
  return (
    <Page>
      <PageHeader title={words.title} about={words.about} />
      <LiveSessions />
      {mayNotList ? <Note tone="plain" title={words.ended}>{mayNotList}</Note> : <Recordings />}
    </Page>
  );
}
