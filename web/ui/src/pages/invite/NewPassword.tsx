import { passwordFault, repeatFault } from '../../lib/password';
import { invite as strings } from '../../strings/signin';
import { PasswordField } from '../../ui';

type Props = { password: string; setPassword: (text: string) => void; again: string; setAgain: (text: string) => void };

/** A new password, twice. What is wrong is said while typing, not held against a box that is still empty. */
export function NewPassword({ password, setPassword, again, setAgain }: Props) {
  return (
    <>
      <PasswordField label={strings.password} hint={passwordFault(password) ?? strings.rule} autoComplete="new-password" autoFocus required value={password} onChange={(event) => setPassword(event.target.value)} />
      <PasswordField label={strings.again} error={repeatFault(password, again)} autoComplete="new-password" required value={again} onChange={(event) => setAgain(event.target.value)} />
    </>
  );
}
