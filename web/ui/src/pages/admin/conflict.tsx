import { around, diff } from '../../admin/diff';
import { identity } from '../../admin/document';
import { admin } from '../../strings/admin';
import { ui } from '../../strings/app';
import { Button, Dialog, Note } from '../../ui';

const words = admin.conflict;

/** The lines that differ between two texts. */
export function Diff({ before, after, label }: { before: string; after: string; label: string }) {
  const lines = around(diff(before, after));
  if (lines.every((line) => line === undefined || line.kind === 'same')) return <p className="soft small">{words.same}</p>;
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
    <pre className="diff" tabIndex={0} role="region" aria-label={label}>
      {lines.map((line, i) => line === undefined
        ? <span key={i} className="diff-gap">⋯</span>
        : <span key={i} className={`diff-${line.kind}`}>{line.kind === 'added' ? '+ ' : line.kind === 'removed' ? '− ' : '  '}{line.text}</span>)}
    </pre>
  );
}

// The revision differs in any case, and says nothing.
const bare = (text: string) => text.replace(/^\s*revision:.*\n/m, '');

type Props = {
  base: string;
  mine: string;
  /** What is there now; none if it was removed. */
  theirs: string | undefined;
  onTake: () => void;
  onRebase: () => void;
  onClose: () => void;
};

/** Somebody else was quicker: shows what both did, and asks whose shall hold. */
export function ConflictDialog({ base, mine, theirs, onTake, onRebase, onClose }: Props) {
  const foot = (
    <>
      <Button onClick={onClose}>{ui.cancel}</Button>
      {theirs !== undefined && <Button onClick={onTake}>{words.take}</Button>}
      <Button look="primary" onClick={onRebase}>{theirs === undefined ? words.again : words.rebase}</Button>
    </>
  );
  return (
    <Dialog open wide onClose={onClose} title={words.title} foot={foot}>
      {theirs === undefined
        ? <Note tone="warn">{words.gone}</Note>
        : (
          <>
            <p>{words.text(identity(theirs).revision, identity(base).revision)}</p>
            <h3>{words.theirs}</h3>
            <Diff label={words.theirs} before={bare(base)} after={bare(theirs)} />
          </>
        )}
      <h3>{words.mine}</h3>
      <Diff label={words.mine} before={bare(base)} after={bare(mine)} />
      {theirs !== undefined && <p className="small soft">{words.rebaseHelp}</p>}
    </Dialog>
  );
}
