import { useId } from 'react';
import type { ButtonHTMLAttributes, ReactNode, Ref } from 'react';
import { Tooltip } from './Tooltip';

export type ButtonLook = 'primary' | 'plain' | 'quiet' | 'danger';

export type ButtonProps = Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'disabled'> & {
  look?: ButtonLook;
  size?: 'small' | 'normal' | 'large';
  icon?: ReactNode;
  /** Why this person may not do it. The button stays reachable by keyboard, says why, and does nothing. */
  forbidden?: string;
  /** It is at work: it does nothing more, and keeps its width. */
  busy?: boolean;
  disabled?: boolean;
  ref?: Ref<HTMLButtonElement>;
};

export function Button({ look = 'plain', size = 'normal', icon, forbidden, busy, disabled, className, children, onClick, type = 'button', ...rest }: ButtonProps) {
  const off = Boolean(forbidden || busy || disabled);
  const only = icon && !children;
  const why = useId();
  const button = (
    <button
      type={off && type === 'submit' ? 'button' : type}
      {...rest}
      className={`btn btn-${look} btn-${size}${only ? ' btn-icon' : ''}${busy ? ' btn-busy' : ''} ${className ?? ''}`}
      aria-disabled={off || undefined}
      aria-busy={busy || undefined}
      aria-describedby={forbidden ? why : rest['aria-describedby']}
      onClick={off ? (event) => event.preventDefault() : onClick}
    >
      {icon}
      {children !== undefined && <span className="btn-text">{children}</span>}
      {busy && <span className="spinner" aria-hidden="true" />}
      {forbidden && <span id={why} hidden>{forbidden}</span>}
    </button>
  );
  return forbidden ? <Tooltip text={forbidden}>{button}</Tooltip> : button;
}

export type IconButtonProps = Omit<ButtonProps, 'children' | 'icon'> & { icon: ReactNode; label: string };

/** A button that shows an icon alone: its name is its tooltip and what a screen reader says. */
export function IconButton({ label, look = 'quiet', forbidden, ...rest }: IconButtonProps) {
  const button = <Button {...rest} look={look} forbidden={forbidden} aria-label={label} />;
  return forbidden ? button : <Tooltip text={label}>{button}</Tooltip>;
}
