import { useId, useState, type KeyboardEvent } from 'react';
import { admin } from '../strings/admin';
import { Button, Chip, Field, IconButton, IconClose, IconPlus } from '../ui';

const words = admin.field;
type Shared = { label: string; hint?: string; hideLabel?: boolean; readOnly?: boolean };

/** A list of words as chips, with a box for the next one. Enter, comma and leaving the box add; backspace takes the last. */
export function ListField({ label, hint, hideLabel, readOnly, value, onValue, offers = [] }: Shared & { value: readonly string[]; onValue: (value: string[]) => void; offers?: readonly string[] }) {
  const [text, type] = useState('');
  const list = useId();
  const add = () => {
    const fresh = text.split(',').map((one) => one.trim()).filter((one) => one !== '' && !value.includes(one));
    type('');
    if (fresh.length > 0) onValue([...value, ...fresh]);
  };
  const press = (event: KeyboardEvent) => {
    if (event.key === 'Enter' || event.key === ',') {
      event.preventDefault();
      add();
    } else if (event.key === 'Backspace' && text === '' && value.length > 0) {
      onValue(value.slice(0, -1));
    }
  };
  const left = offers.filter((offer) => !value.includes(offer));
  return (
    <Field label={label} hint={hint} hideLabel={hideLabel}>
      {(ids) => (
        <div className="list-field input">
          {value.map((one) => <Chip key={one} onRemove={readOnly ? undefined : () => onValue(value.filter((other) => other !== one))} removeLabel={words.removeFrom(one, label)}>{one}</Chip>)}
          <input
            {...ids} className="list-input" value={text} readOnly={readOnly} list={left.length > 0 ? list : undefined} placeholder={value.length === 0 ? words.add : undefined}
            autoComplete="off" autoCapitalize="none" spellCheck={false} onChange={(event) => type(event.target.value)} onKeyDown={press} onBlur={add}
          />
          {left.length > 0 && <datalist id={list}>{left.map((offer) => <option key={offer} value={offer} />)}</datalist>}
        </div>
      )}
    </Field>
  );
}

/** Names with lists of values: traits, selectors of labels. A name without values is kept here until it has some. */
export function ListMapField({ label, hint, readOnly, value, onValue }: Shared & { value: Record<string, string[]>; onValue: (value: Record<string, string[]>) => void }) {
  const [drafts, setDrafts] = useState<string[]>([]);
  const names = [...Object.keys(value), ...drafts.filter((name) => !Object.hasOwn(value, name))];
  const set = (name: string, values: string[]) => {
    const { [name]: _, ...rest } = value;
    if (values.length === 0 && !drafts.includes(name)) setDrafts([...drafts, name]);
    onValue(values.length === 0 ? rest : { ...value, [name]: values });
  };
  const remove = (name: string) => {
    const { [name]: _, ...rest } = value;
    setDrafts(drafts.filter((one) => one !== name));
    onValue(rest);
  };
  return (
    <Rows label={label} hint={hint} readOnly={readOnly} names={names} onAdd={(name) => setDrafts([...drafts, name])} onRemove={remove}>
      {(name) => <ListField label={`${label}, ${name}`} hideLabel readOnly={readOnly} value={value[name] ?? []} onValue={(values) => set(name, values)} />}
    </Rows>
  );
}

/** Names with one value each: labels. */
export function MapField({ label, hint, readOnly, value, onValue }: Shared & { value: Record<string, string>; onValue: (value: Record<string, string>) => void }) {
  const remove = (name: string) => {
    const { [name]: _, ...rest } = value;
    onValue(rest);
  };
  return (
    <Rows label={label} hint={hint} readOnly={readOnly} names={Object.keys(value)} onAdd={(name) => onValue({ ...value, [name]: '' })} onRemove={remove}>
      {(name) => <input className="input" aria-label={`${label}, ${name}`} readOnly={readOnly} value={value[name] ?? ''} onChange={(event) => onValue({ ...value, [name]: event.target.value })} />}
    </Rows>
  );
}

type RowsProps = Shared & { names: string[]; onAdd: (name: string) => void; onRemove: (name: string) => void; children: (name: string) => React.ReactNode };

function Rows({ label, hint, readOnly, names, onAdd, onRemove, children }: RowsProps) {
  const [text, type] = useState('');
  const id = useId();
  const add = () => {
    const name = text.trim();
    type('');
    if (name !== '' && !names.includes(name)) onAdd(name);
  };
  return (
    <div className="field" role="group" aria-labelledby={id}>
      <span id={id} className="field-label">{label}</span>
      {names.map((name) => (
        <div key={name} className="map-row">
          <code className="map-name clip" title={name}>{name}</code>
          {children(name)}
          {!readOnly && <IconButton size="small" icon={<IconClose />} label={words.removeKey(name)} onClick={() => onRemove(name)} />}
        </div>
      ))}
      {!readOnly && (
        <div className="map-add">
          <input
            className="input" aria-label={`${label}: ${words.addKey}`} placeholder={words.addKey} value={text} autoComplete="off" autoCapitalize="none" spellCheck={false}
            onChange={(event) => type(event.target.value)}
            onKeyDown={(event) => {
              if (event.key !== 'Enter') return;
              event.preventDefault();
              add();
            }}
          />
          <Button size="small" icon={<IconPlus />} disabled={text.trim() === ''} onClick={add} aria-label={words.addTo(label)}>{words.add}</Button>
        </div>
      )}
      {hint && <div className="field-hint">{hint}</div>}
    </div>
  );
}
