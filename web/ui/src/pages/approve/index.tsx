// Where `pal login --browser` and `pal ssh --headless` send people: a program asks to be let in.
import { useState } from 'react';
import type { FormEvent } from 'react';
import { useLocation, useParams } from 'wouter';
import { json, useAction, useQuery } from '../../api';
import type { Approval } from '../../api';
import { useConfirm } from '../../app/confirm';
import { useSession } from '../../app/session';
import { approve as strings } from '../../strings/approve';
import { Button, Empty, Facts, Failed, IconLink, Note, Page, PageHeader, PageSkeleton, Panel, TextField, Time } from '../../ui';

export default function Approve() {
  const { code } = useParams();
  return (
    <Page>
      <PageHeader title={strings.title} about={strings.about} />
      {code ? <Asked key={code} code={code} /> : <Typed />}
    </Page>
  );
}

function Typed() {
  const [, go] = useLocation();
  const [code, setCode] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    go(`/approve/${encodeURIComponent(code.trim())}`);
  };
  return (
    <Panel title={strings.which}>
      <form className="stack" onSubmit={submit}>
        <TextField label={strings.code} hint={strings.codeHint} autoCapitalize="characters" spellCheck={false} autoComplete="off" maxLength={12} autoFocus required value={code} onChange={(event) => setCode(event.target.value)} />
        <div><Button type="submit" look="primary">{strings.look}</Button></div>
      </form>
    </Panel>
  );
}

function Asked({ code }: { code: string }) {
  const route = `/v1/web/approvals/${encodeURIComponent(code)}`;
  const asked = useQuery(['approval', code], (signal) => json<Approval>('GET', route, { signal }));
  if (asked.error) {
    return asked.error.status === 404
      ? <Empty icon={<IconLink size={32} />} title={strings.gone}>{strings.goneHelp}</Empty>
      : <Failed error={asked.error} retry={asked.reload} />;
  }
  if (!asked.data) return <PageSkeleton />;
  return <Decide asked={asked.data} route={route} onDone={asked.reload} />;
}

function Decide({ asked, route, onDone }: { asked: Approval; route: string; onDone: () => void }) {
  const { user } = useSession();
  const sure = useConfirm();
  const answer = useAction((yes: boolean) => {
    const say = () => json('POST', route, { body: { approve: yes } });
    return yes ? sure(say) : say();
  });
  const decide = async (yes: boolean) => {
    if (await answer.run(yes)) onDone();
  };
  const wants = asked.host ? strings.wantsHost(asked.login, asked.host) : strings.wantsLogin(user);
  return (
    <Panel title={wants} about={asked.host ? strings.hostAbout : strings.loginAbout}>
      <div className="stack">
        <Facts
          items={[
            [strings.code, <strong key="c"><code>{asked.code}</code></strong>],
            [strings.client, asked.client],
            [strings.from, <code key="f">{asked.addr}</code>],
            [strings.since, <Time key="t" at={asked.created} />],
          ]}
        />
        {asked.state === 'granted' && <Note tone="ok">{strings.granted}</Note>}
        {asked.state === 'refused' && <Note tone="warn">{strings.refused}</Note>}
        {asked.state === 'waiting' && (
          <>
            <Note tone="warn">{strings.warning}</Note>
            {answer.error && <Note tone="bad">{answer.error.message}</Note>}
            <div className="row-wrap">
              <Button look="primary" size="large" busy={answer.busy} onClick={() => void decide(true)}>{strings.yes}</Button>
              <Button size="large" disabled={answer.busy} onClick={() => void decide(false)}>{strings.no}</Button>
            </div>
          </>
        )}
      </div>
    </Panel>
  );
}
