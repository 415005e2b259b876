import { useEffect, useState } from 'react';
import { forField, isNarrowed, RANGES, readFilter, writeFilter, type Filter } from '../../audit/filter';
import { grouped } from '../../audit/kinds';
import { useUrlParams } from '../../lib/url';
import { audit as words } from '../../strings/audit';
import { Button, Field, IconClose, SearchField, Segments, TextField } from '../../ui';

const TYPING_MS = 300;

export function useFilter(): [Filter, (change: Partial<Filter>) => void] {
  const [params, set] = useUrlParams();
  const filter = readFilter(params);
  return [filter, (change) => set({ ...writeFilter({ ...filter, ...change }), e: undefined })];
}

/** A text of the filter, which waits until one has typed. */
function useTyped(value: string, commit: (text: string) => void): [string, (text: string) => void] {
  const [text, type] = useState(value);
  useEffect(() => type(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => commit(text), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]); // eslint-disable-line react-hooks/exhaustive-deps -- only typing starts the wait
  return [text, type];
}

export function Filters({ filter, change }: { filter: Filter; change: (change: Partial<Filter>) => void }) {
  const [text, type] = useTyped(filter.text, (text) => change({ text }));
  const [user, typeUser] = useTyped(filter.user, (user) => change({ user }));
  const [host, typeHost] = useTyped(filter.host, (host) => change({ host }));
  const clear = () => change({ range: '7d', from: '', to: '', text: '', type: '', user: '', host: '' });
  return (
    <search className="audit-filters">
      <div className="audit-range">
        <Segments label={words.range} value={filter.range} onValue={(range) => change({ range })} choices={RANGES.map((value) => ({ value, label: words.ranges[value] }))} />
      </div>
      {filter.range === 'custom' && (
        <div className="audit-custom">
          <TextField type="datetime-local" label={words.from} value={forField(filter.from)} onChange={(event) => change({ from: event.target.value })} />
          <TextField type="datetime-local" label={words.to} value={forField(filter.to)} onChange={(event) => change({ to: event.target.value })} />
        </div>
      )}
      <div className="audit-fields">
        <div className="audit-text"><SearchField label={words.text} placeholder={words.textHint} value={text} onValue={type} /></div>
        <Kinds value={filter.type} onValue={(type) => change({ type })} />
        <SearchField label={words.user} value={user} onValue={typeUser} />
        <SearchField label={words.host} value={host} onValue={typeHost} />
        {isNarrowed(filter) && <Button look="quiet" icon={<IconClose />} onClick={clear}>{words.clear}</Button>}
      </div>
    </search>
  );
}

function Kinds({ value, onValue }: { value: string; onValue: (value: string) => void }) {
  return (
    <Field label={words.type} hideLabel>
      {(ids) => (
        <select {...ids} className="input select" value={value} onChange={(event) => onValue(event.target.value)}>
          <option value="">{words.anyType}</option>
          {grouped().map(([group, names]) => (
            <optgroup key={group} label={words.groups[group] ?? group}>
              {names.length > 1 && <option value={group}>{words.allOf(words.groups[group] ?? group)}</option>}
              {names.map((name) => <option key={name} value={name}>{name}</option>)}
            </optgroup>
          ))}
        </select>
      )}
    </Field>
  );
}
