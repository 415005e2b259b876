import { useState } from 'react';
import type { FormEvent } from 'react';
import { hostOf, openTerminal, parseTarget } from '../../app/target';
import { hosts as strings } from '../../strings/hosts';
import { Button, Field, IconTerminal } from '../../ui';

/** For a host that need not be in the list: any OpenSSH server by name or address. */
export function ConnectBox() {
  const [text, setText] = useState('');
  const [bad, setBad] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const target = parseTarget(text);
    setBad(!target);
    if (target) openTerminal(target.login, hostOf(target));
  };
  return (
    <form className="connect-box" onSubmit={submit}>
      <Field label={strings.connectTo} hideLabel error={bad ? strings.connectBad : undefined}>
        {(ids) => (
          <input
            {...ids} className="input" placeholder={strings.connectTo} title={strings.connectHint} value={text} autoComplete="off" autoCapitalize="none" spellCheck={false}
            onChange={(event) => { setText(event.target.value); setBad(false); }}
          />
        )}
      </Field>
      <Button type="submit" icon={<IconTerminal />}>{strings.connect}</Button>
    </form>
  );
}
