import { Link } from 'wouter';
import { useAction } from '../../api';
import { removeRecord } from '../../admin/api';
import { editPath, isPolicy, type EditedKind, type Section, type Shown } from '../../admin/kinds';
import { toast } from '../../app/toasts';
import { admin } from '../../strings/admin';
import { Chip, ConfirmDialog, CopyButton } from '../../ui';

/** The name of a record, as the way to its editor. */
export function NameLink({ section, record }: { section: Section; record: Pick<Shown, 'metadata'> }) {
  const { name, description } = record.metadata;
  return (
    <span className="name-cell">
      <Link href={editPath(section, name)} className="name-link break">{name}</Link>
      {description && <span className="small soft clip">{description}</span>}
    </span>
  );
}

const MOST = 4;

/** A few words as chips, and how many more there are. */
export function Chips({ items, none }: { items: readonly string[]; none: string }) {
  if (items.length === 0) return <span className="faint">{none}</span>;
  const rest = items.length - MOST;
  return (
    <span className="chips">
      {items.slice(0, MOST).map((item) => <Chip key={item} title={item}>{item}</Chip>)}
      {rest > 0 && <span className="small faint" title={items.slice(MOST).join(', ')}>{`+${rest}`}</span>}
    </span>
  );
}

export const labelTexts = (labels: Record<string, unknown> | undefined): string[] =>
  Object.entries(labels ?? {}).map(([name, value]) => `${name}=${Array.isArray(value) ? value.join('|') : String(value)}`);

/** Asks for the name to be typed, and removes. */
export function RemoveDialog({ kind, one, record, onClose, onDone }: { kind: EditedKind; one: string; record: Pick<Shown, 'metadata'>; onClose: () => void; onDone: () => void }) {
  const { name, revision } = record.metadata;
  const action = useAction(() => removeRecord(kind, name, revision));
  const go = async () => {
    if (!(await action.run())) return;
    toast(admin.removal.done(name));
    onDone();
    onClose();
  };
  const { what } = admin.removal;
  return (
    <ConfirmDialog open danger title={admin.removal.title(one, name)} verb={admin.removal.verb} word={name} wordLabel={admin.removal.word(name)} busy={action.busy} error={action.error} onClose={onClose} onConfirm={() => void go()}>
      <p>{what[isPolicy(kind) ? 'policy' : kind] ?? what.other}</p>
    </ConfirmDialog>
  );
}

/** A secret or a line to be run, with a button that copies it. */
export function Secret({ label, text }: { label: string; text: string }) {
  return (
    <div className="stack-s">
      <span className="field-label">{label}</span>
      <div className="secret"><code className="break grow">{text}</code><CopyButton text={text} /></div>
    </div>
  );
}
