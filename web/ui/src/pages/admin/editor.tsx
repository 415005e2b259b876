import { lazy, Suspense, useMemo, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { asApiError, useAction, useQuery, type ApiError } from '../../api';
import { createYaml, readYaml, replaceYaml, useNames } from '../../admin/api';
import { edited, identity, parse } from '../../admin/document';
import { RecordForm } from '../../admin/form';
import { editPath, isPolicy, NEW, type EditedKind, type Section } from '../../admin/kinds';
import { useMay } from '../../app/session';
import { toast } from '../../app/toasts';
import { useUrlParams } from '../../lib/url';
import { admin } from '../../strings/admin';
import { Button, ConfirmDialog, Failed, IconTrash, Note, Page, PageHeader, PageSkeleton, Panel, Segments, Skeleton } from '../../ui';
import { ConflictDialog, Diff } from './conflict';
import { readBase, useExplain, useLint, useUnsaved, type Base } from './editing';
import { Effects, ExplainPanel } from './explain';
import { FieldHelp, Faults } from './faults';
import { RemoveDialog } from './parts';

const YamlEditor = lazy(() => import('../../admin/yaml-editor'));
const words = admin.editor;

type Where = { section: Section; kind: EditedKind; name: string };

/** The page on which one record is written: a form for what is common, and YAML for all of it. */
export function RecordEditor({ section, kind, name }: Where) {
  const isNew = name === NEW;
  const mayRead = useMay(kind, 'read');
  const base = useQuery(mayRead && !isNew ? null : ['edit', kind, name], (signal) => readBase(kind, name, isNew, signal));
  const crumbs = <Link href={`/admin/${section}`}>{admin.sections[section].title}</Link>;
  if (mayRead && !isNew) return <Page><PageHeader title={name} crumbs={crumbs} /><Note tone="plain">{mayRead}</Note></Page>;
  if (base.loading) return <PageSkeleton />;
  if (base.data === undefined) return <Page><PageHeader title={name} crumbs={crumbs} />{base.error && <Failed error={base.error} retry={base.reload} title={base.error.status === 404 ? words.missing : undefined} />}</Page>;
  return <Editing key={base.data.text} {...{ section, kind, name, isNew }} base={base.data} reload={base.reload} />;
}

type Conflict = { theirs: string | undefined };

function Editing({ section, kind, name, isNew, base, reload }: Where & { isNew: boolean; base: Base; reload: () => void }) {
  const [text, setText] = useState(base.text);
  const [cursor, setCursor] = useState(0);
  const [place, setPlace] = useState<{ offset: number }>();
  const [reviewing, review] = useState(false);
  const [removing, remove] = useState(false);
  const [conflict, setConflict] = useState<Conflict>();
  const [again, makeAgain] = useState(false);
  const [params, set] = useUrlParams();
  const [, go] = useLocation();
  const mayWrite = useMay(kind, base.absent && isNew ? 'create' : 'update');
  const mayDelete = useMay(kind, 'delete');
  const offers = useOffers(kind);
  const lint = useLint(text);
  const faulty = lint.faults.length > 0;
  const broken = useMemo(() => parse(text).error !== undefined, [text]);
  const explain = useExplain(kind === 'role' && !lint.pending && !faulty ? text : undefined);
  const dirty = text !== base.text;
  const view = params.get('view') === 'yaml' ? 'yaml' : 'form';
  const { one } = admin.sections[section];
  useUnsaved(dirty);

  const save = useAction(async () => {
    const now = identity(text);
    try {
      if (isNew) await createYaml(kind, text);
      else await replaceYaml(kind, name, text, base.absent || again);
    } catch (error) {
      const why = asApiError(error);
      if (isNew || why.status !== 409) throw why;
      setConflict({ theirs: await readYaml(kind, name).catch((cause: unknown) => (asApiError(cause).status === 404 ? undefined : Promise.reject(cause))) });
      return;
    }
    toast(isNew ? words.created(now.name) : words.saved(now.name));
    setConflict(undefined);
    if (kind === 'user' && isNew) go(`/admin/users?invite=${encodeURIComponent(now.name)}`);
    else if (isNew) go(editPath(section, now.name), { replace: true });
    else reload();
  });
  const submit = async () => {
    if (await save.run()) review(false);
  };
  const why = mayWrite ?? undefined;
  const idle = !dirty && !isNew ? words.unchanged : faulty ? words.faulty : undefined;
  const label = isNew ? words.new(one) : isPolicy(kind) ? admin.policies[kind].title : name;

  return (
    <Page wide>
      <PageHeader
        title={label}
        crumbs={<Link href={`/admin/${section}`}>{admin.sections[section].title}</Link>}
        actions={
          <>
            {!isNew && !base.absent && !isPolicy(kind) && <Button icon={<IconTrash />} forbidden={mayDelete} onClick={() => remove(true)}>{admin.remove}</Button>}
            {dirty && <Button onClick={() => setText(base.text)}>{words.discard}</Button>}
            <Button
              look="primary" forbidden={why} disabled={idle !== undefined} title={why ? undefined : idle} busy={save.busy}
              onClick={() => (kind === 'role' ? review(true) : void submit())}
            >
              {isNew ? words.create : kind === 'role' ? words.review : words.save}
            </Button>
          </>
        }
      />
      {why && <Note tone="plain" title={words.mayNot}>{why}</Note>}
      {base.absent && !isNew && <Note tone="info">{words.default}</Note>}
      {save.error && !reviewing && <SaveError error={save.error} />}
      <div className="editor-switch">
        <Segments label={words.view} value={view} onValue={(next) => set({ view: next === 'form' ? undefined : next })} choices={[{ value: 'form', label: words.form }, { value: 'yaml', label: words.yaml }]} />
      </div>
      <div className="editor" data-view={view}>
        <Panel title={words.form}>
          {broken ? <Note tone="warn">{words.broken}</Note> : <RecordForm {...{ kind, text, isNew, offers }} onText={setText} readOnly={Boolean(why)} />}
        </Panel>
        <section className="panel editor-yaml" aria-label={words.yaml}>
          <div className="panel-head"><h2 className="panel-title grow">{words.yaml}</h2><span className="xs faint">{words.yamlHelp}</span></div>
          <Suspense fallback={<div className="yaml-editor yaml-wait"><Skeleton lines={10} height="14px" /></div>}>
            <YamlEditor text={text} onText={setText} onCursor={setCursor} faults={lint.faults} names={offers} readOnly={Boolean(why)} label={words.yamlLabel(label)} place={place} />
          </Suspense>
          <FieldHelp text={text} offset={cursor} />
          <Faults text={text} lint={lint} onText={setText} onPlace={(offset) => setPlace({ offset })} />
        </section>
      </div>
      {kind === 'role' && <ExplainPanel asked={explain} faulty={faulty} />}
      {reviewing && (
        <ConfirmDialog
          open wide title={admin.explain.reviewTitle(identity(text).name)} verb={isNew ? words.create : words.save} busy={save.busy} error={save.error}
          danger={Boolean(explain?.reply?.lost.length)} onClose={() => review(false)} onConfirm={() => void submit()}
        >
          <h3>{admin.explain.effects}</h3>
          {explain?.of === text && explain.reply ? <Effects explain={explain.reply} /> : explain?.error ? <Failed error={explain.error} title={admin.explain.failed} /> : <Skeleton lines={2} />}
          <h3>{admin.explain.changes}</h3>
          <Diff before={isNew ? '' : base.text} after={text} label={admin.explain.changes} />
        </ConfirmDialog>
      )}
      {removing && <RemoveDialog kind={kind} one={one} record={{ metadata: { name, revision: identity(base.text).revision } }} onClose={() => remove(false)} onDone={() => go(`/admin/${section}`)} />}
      {conflict && (
        <ConflictDialog
          base={base.text} mine={text} theirs={conflict.theirs} onClose={() => setConflict(undefined)}
          onTake={reload}
          onRebase={() => {
            setText(edited(text, ['metadata', 'revision'], conflict.theirs === undefined ? undefined : identity(conflict.theirs).revision));
            makeAgain(conflict.theirs === undefined);
            setConflict(undefined);
            review(false);
          }}
        />
      )}
    </Page>
  );
}

function SaveError({ error }: { error: ApiError }) {
  return <Note tone="bad" title={admin.editor.faults(1)}>{error.message}</Note>;
}

/** Names that exist, for fields that name something. */
function useOffers(kind: EditedKind): (path: string) => readonly string[] {
  const may = { role: useMay('role', 'list'), user: useMay('user', 'list'), host: useMay('host', 'list') };
  const locks = kind === 'lock';
  const roles = useNames((kind === 'user' || locks) && !may.role ? 'role' : null);
  const users = useNames(locks && !may.user ? 'user' : null);
  const hosts = useNames(locks && !may.host ? 'host' : null);
  return useMemo(() => {
    const known: Record<string, readonly string[]> = { 'spec.roles': roles, 'spec.target.role': roles, 'spec.target.user': users, 'spec.target.host': hosts };
    return (path: string) => known[path] ?? [];
  }, [roles.join(), users.join(), hosts.join()]); // eslint-disable-line react-hooks/exhaustive-deps -- the names are what matters
}
