import * as Radix from '@radix-ui/react-dialog';
import { useState } from 'react';
import type { FormEvent, ReactNode } from 'react';
import type { ApiError } from '../api/error';
import { ui } from '../strings/app';
import { Button, IconButton } from './Button';
import { TextField } from './Field';
import { IconClose } from './icons';
import { Note } from './Note';

/** The keyboard begins at the first thing to fill in, else at the dialog itself: not at the cross, whose tooltip would open. */
function begin(event: Event): void {
  const dialog = event.currentTarget as HTMLElement;
  const first = dialog.querySelector<HTMLElement>('[autofocus], :is(.dialog-body, .drawer-body) :is(input, select, textarea):not([disabled])');
  event.preventDefault();
  (first ?? dialog).focus({ preventScroll: true });
}

type DialogProps = {
  open: boolean;
  onClose: () => void;
  title: string;
  /** A sentence below the title, read out with it. */
  about?: ReactNode;
  children?: ReactNode;
  /** Buttons at the foot. */
  foot?: ReactNode;
  wide?: boolean;
};

/** In the middle of the page; a sheet at the foot of a phone. Escape closes, the keyboard stays inside. */
export function Dialog({ open, onClose, title, about, children, foot, wide }: DialogProps) {
  return (
    <Radix.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className="scrim" />
        <Radix.Content onOpenAutoFocus={begin} className={`dialog${wide ? ' dialog-wide' : ''}`} {...(about ? {} : { 'aria-describedby': undefined })}>
          <div className="dialog-head">
            <Radix.Title className="dialog-title">{title}</Radix.Title>
            <IconButton size="small" icon={<IconClose />} label={ui.close} onClick={onClose} />
          </div>
          <div className="dialog-body">
            {about && <Radix.Description asChild><div className="soft">{about}</div></Radix.Description>}
            {children}
          </div>
          {foot && <div className="dialog-foot">{foot}</div>}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

type ConfirmProps = Omit<DialogProps, 'foot'> & {
  /** What the button says: the verb, never "OK". */
  verb: string;
  danger?: boolean;
  /** The person types this word first: for what cannot be undone. */
  word?: string;
  wordLabel?: string;
  busy?: boolean;
  error?: ApiError;
  onConfirm: () => void;
};

/** Asks before something that takes effect. */
export function ConfirmDialog({ verb, danger, word, wordLabel, busy, error, onConfirm, children, ...rest }: ConfirmProps) {
  const [typed, type] = useState('');
  const ready = !word || typed === word;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (ready && !busy) onConfirm();
  };
  return (
    <Dialog {...rest}>
      <form className="stack" onSubmit={submit}>
        {children}
        {word && <TextField label={wordLabel ?? word} value={typed} onChange={(event) => type(event.target.value)} autoComplete="off" autoCapitalize="none" spellCheck={false} />}
        {error && <Note tone="bad">{error.message}</Note>}
        <div className="dialog-foot">
          <Button onClick={rest.onClose}>{ui.cancel}</Button>
          <Button type="submit" look={danger ? 'danger' : 'primary'} busy={busy} disabled={!ready}>{verb}</Button>
        </div>
      </form>
    </Dialog>
  );
}

/** A panel that slides in from the right: details beside the list they belong to. */
export function Drawer({ open, onClose, title, children, side = 'right' }: { open: boolean; onClose: () => void; title: string; children: ReactNode; side?: 'left' | 'right' }) {
  return (
    <Radix.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className="scrim" />
        <Radix.Content onOpenAutoFocus={begin} className={`drawer drawer-${side}`} aria-describedby={undefined}>
          <div className="dialog-head">
            <Radix.Title className="dialog-title">{title}</Radix.Title>
            <IconButton size="small" icon={<IconClose />} label={ui.close} onClick={onClose} />
          </div>
          <div className="drawer-body">{children}</div>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
