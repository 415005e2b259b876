import { useEffect, useState } from 'react';
import { sessions as words } from '../../strings/sessions';
import { Button, IconClose, SearchField, TextField } from '../../ui';
import { isNarrowed, type Filter } from './data';

const TYPING_MS = 300;

/** A text that waits until one has typed. */
function useTyped(value: string, commit: (text: string) => void): [string, (text: string) => void] {
  const [text, type] = useState(value);
  useEffect(() => type(value), [value]);
  useEffect(() => {
    if (text.trim() === value) return;
    const timer = setTimeout(() => commit(text.trim()), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]); // eslint-disable-line react-hooks/exhaustive-deps -- only typing starts the wait
  return [text, type];
}

/** What narrows the recordings. The words are those of the list alone: inside, the text is looked for instead. */
export function Filters({ filter, inside, change }: { filter: Filter; inside: boolean; change: (change: Partial<Filter>) => void }) {
  const [q, typeQ] = useTyped(filter.q, (q) => change({ q }));
  const [user, typeUser] = useTyped(filter.user, (user) => change({ user }));
  const [host, typeHost] = useTyped(filter.host, (host) => change({ host }));
  const [login, typeLogin] = useTyped(filter.login, (login) => change({ login }));
  return (
    <search className="session-filters">
      {!inside && <div className="session-words"><SearchField label={words.filter} value={q} onValue={typeQ} /></div>}
      <SearchField label={words.user} value={user} onValue={typeUser} />
      <SearchField label={words.host} value={host} onValue={typeHost} />
      <SearchField label={words.login} value={login} onValue={typeLogin} />
      <TextField type="date" label={words.sinceDay} value={filter.since} onChange={(event) => change({ since: event.target.value })} />
      <TextField type="date" label={words.untilDay} value={filter.until} onChange={(event) => change({ until: event.target.value })} />
      {isNarrowed(filter) && <Button look="quiet" icon={<IconClose />} onClick={() => change({ q: '', user: '', host: '', login: '', since: '', until: '' })}>{words.clear}</Button>}
    </search>
  );
}
