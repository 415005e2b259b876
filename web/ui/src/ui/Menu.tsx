import * as Dropdown from '@radix-ui/react-dropdown-menu';
import * as Pop from '@radix-ui/react-popover';
import type { ReactElement, ReactNode } from 'react';
import { IconCheck } from './icons';

export type MenuItem =
  | { key: string; label: string; icon?: ReactNode; hint?: string; danger?: boolean; forbidden?: string; checked?: boolean; onSelect: () => void }
  | { key: string; line: true }
  | { key: string; heading: string };

/** A button that opens a list of things to do. What is forbidden stays in the list and says why. */
export function Menu({ trigger, items, align = 'end', label }: { trigger: ReactElement; items: MenuItem[]; align?: 'start' | 'end'; label?: string }) {
  return (
    <Dropdown.Root modal={false}>
      <Dropdown.Trigger asChild>{trigger}</Dropdown.Trigger>
      <Dropdown.Portal>
        <Dropdown.Content className="menu" align={align} sideOffset={4} collisionPadding={8} aria-label={label}>
          {items.map((item) => {
            if ('line' in item) return <Dropdown.Separator key={item.key} className="menu-line" />;
            if ('heading' in item) return <Dropdown.Label key={item.key} className="menu-heading">{item.heading}</Dropdown.Label>;
            const inside = (
              <>
                {item.icon && <span className="menu-icon">{item.icon}</span>}
                <span className="grow"><span className="menu-label">{item.label}</span>{(item.forbidden || item.hint) && <span className="menu-hint">{item.forbidden || item.hint}</span>}</span>
                {item.checked && <IconCheck />}
              </>
            );
            const shared = { className: `menu-item${item.danger ? ' menu-danger' : ''}`, disabled: Boolean(item.forbidden), onSelect: item.onSelect };
            return item.checked === undefined
              ? <Dropdown.Item key={item.key} {...shared}>{inside}</Dropdown.Item>
              : <Dropdown.CheckboxItem key={item.key} {...shared} checked={item.checked}>{inside}</Dropdown.CheckboxItem>;
          })}
        </Dropdown.Content>
      </Dropdown.Portal>
    </Dropdown.Root>
  );
}

/** A small panel beside a button: settings, filters. */
export function Popover({ trigger, children, align = 'end', label, open, onOpen }: { trigger: ReactElement; children: ReactNode; align?: 'start' | 'end'; label: string; open?: boolean; onOpen?: (open: boolean) => void }) {
  return (
    <Pop.Root open={open} onOpenChange={onOpen}>
      <Pop.Trigger asChild>{trigger}</Pop.Trigger>
      <Pop.Portal>
        <Pop.Content className="popover" align={align} sideOffset={4} collisionPadding={8} aria-label={label}>{children}</Pop.Content>
      </Pop.Portal>
    </Pop.Root>
  );
}
