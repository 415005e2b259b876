import { useState } from 'react';
import type { FormEvent } from 'react';
import { hosts as strings } from '../../strings/hosts';
import { Button, Chip, IconFilter, SearchField, TextField } from '../../ui';

type Props = {
  text: string;
  expression: string;
  labels: string[];
  badQuery?: string;
  shown?: string;
  onText: (text: string) => void;
  onExpression: (expression: string) => void;
  onLabel: (label: string, on: boolean) => void;
};

export function Filters({ text, expression, labels, badQuery, shown, onText, onExpression, onLabel }: Props) {
  const [open, setOpen] = useState(expression !== '');
  const [draft, setDraft] = useState(expression);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onExpression(draft.trim());
  };
  const toggle = () => {
    setOpen(!open);
    if (open) {
      setDraft('');
      onExpression('');
    }
  };
  return (
    <search className="stack-s">
      <div className="filters">
        <SearchField label={strings.search} value={text} onValue={onText} autoFocus />
        <Button icon={<IconFilter />} aria-expanded={open} onClick={toggle}>{strings.expression}</Button>
        <span className="shown faint small" role="status">{shown}</span>
      </div>
      {open && (
        <form className="expression" onSubmit={submit}>
          <TextField className="mono" label={strings.expressionLabel} hint={strings.expressionHint} error={badQuery} value={draft} onChange={(event) => setDraft(event.target.value)} spellCheck={false} autoCapitalize="none" autoComplete="off" />
          <Button type="submit">{strings.run}</Button>
        </form>
      )}
      {labels.length > 0 && (
        <div className="chips">
          {labels.map((label) => <Chip key={label} active onRemove={() => onLabel(label, false)} removeLabel={strings.removeFilter(label)}>{label}</Chip>)}
        </div>
      )}
    </search>
  );
}
