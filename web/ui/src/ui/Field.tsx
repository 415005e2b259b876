import { useId, useState } from 'react';
import type { InputHTMLAttributes, ReactNode, Ref, SelectHTMLAttributes, TextareaHTMLAttributes } from 'react';
import { ui } from '../strings/app';
import { IconButton } from './Button';
import { IconClose, IconEye, IconSearch } from './icons';

type Shared = { label: string; hint?: ReactNode; error?: string; hideLabel?: boolean; mark?: 'optional' };

type Ids = { id: string; 'aria-describedby': string | undefined; 'aria-invalid': true | undefined };

/** Label, hint and error around any control, tied together for a screen reader. */
export function Field({ label, hint, error, hideLabel, mark, children }: Shared & { children: (ids: Ids) => ReactNode }) {
  const id = useId();
  const about = [hint ? `${id}h` : '', error ? `${id}e` : ''].filter(Boolean).join(' ');
  return (
    <div className="field">
      <label htmlFor={id} className={hideLabel ? 'sr' : 'field-label'}>
        {label}
        {mark && <span className="faint"> {ui.optional}</span>}
      </label>
      {children({ id, 'aria-describedby': about || undefined, 'aria-invalid': error ? true : undefined })}
      {hint && <div id={`${id}h`} className="field-hint">{hint}</div>}
      {error && <div id={`${id}e`} className="field-error" role="alert">{error}</div>}
    </div>
  );
}

type Props<E> = Shared & Omit<E, 'id'>;

export function TextField({ label, hint, error, hideLabel, mark, className, ...rest }: Props<InputHTMLAttributes<HTMLInputElement>> & { ref?: Ref<HTMLInputElement> }) {
  return (
    <Field {...{ label, hint, error, hideLabel, mark }}>
      {(ids) => <input type="text" {...rest} {...ids} className={`input ${className ?? ''}`} />}
    </Field>
  );
}

export function TextArea({ label, hint, error, hideLabel, mark, className, ...rest }: Props<TextareaHTMLAttributes<HTMLTextAreaElement>>) {
  return (
    <Field {...{ label, hint, error, hideLabel, mark }}>
      {(ids) => <textarea rows={3} {...rest} {...ids} className={`input ${className ?? ''}`} />}
    </Field>
  );
}

export type Choice = { value: string; label: string };

export function SelectField({ label, hint, error, hideLabel, mark, className, choices, ...rest }: Props<SelectHTMLAttributes<HTMLSelectElement>> & { choices: Choice[] }) {
  return (
    <Field {...{ label, hint, error, hideLabel, mark }}>
      {(ids) => (
        <select {...rest} {...ids} className={`input select ${className ?? ''}`}>
          {choices.map((choice) => <option key={choice.value} value={choice.value}>{choice.label}</option>)}
        </select>
      )}
    </Field>
  );
}

export function PasswordField({ label, hint, error, ...rest }: Props<InputHTMLAttributes<HTMLInputElement>> & { ref?: Ref<HTMLInputElement> }) {
  const [shown, show] = useState(false);
  return (
    <Field {...{ label, hint, error }}>
      {(ids) => (
        <div className="input-with">
          <input {...rest} {...ids} type={shown ? 'text' : 'password'} className="input" autoCapitalize="none" spellCheck={false} />
          <IconButton size="small" icon={<IconEye />} label={shown ? ui.hidePassword : ui.showPassword} aria-pressed={shown} onClick={() => show(!shown)} />
        </div>
      )}
    </Field>
  );
}

/** A box to search in: the glass before it, and a cross that empties it. Its label is read out, not shown. */
export function SearchField({ label, value, onValue, ...rest }: { label: string; value: string; onValue: (text: string) => void; ref?: Ref<HTMLInputElement> } & Omit<InputHTMLAttributes<HTMLInputElement>, 'value' | 'onChange'>) {
  return (
    <Field label={label} hideLabel>
      {(ids) => (
        <div className="input-with input-search">
          <IconSearch className="input-glass" />
          <input
            autoComplete="off" autoCapitalize="none" spellCheck={false} placeholder={label} {...rest} {...ids}
            type="text" role="searchbox" className="input" value={value}
            onChange={(event) => onValue(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === 'Escape' && value) { event.stopPropagation(); onValue(''); }
              rest.onKeyDown?.(event);
            }}
          />
          {value && <IconButton size="small" icon={<IconClose />} label={ui.clear} onClick={() => onValue('')} />}
        </div>
      )}
    </Field>
  );
}

export function Checkbox({ label, hint, ...rest }: { label: ReactNode; hint?: ReactNode } & Omit<InputHTMLAttributes<HTMLInputElement>, 'type'>) {
  const id = useId();
  return (
    <div className="check">
      <input type="checkbox" {...rest} id={id} aria-describedby={hint ? `${id}h` : undefined} />
      <label htmlFor={id}>{label}</label>
      {hint && <div id={`${id}h`} className="field-hint">{hint}</div>}
    </div>
  );
}
