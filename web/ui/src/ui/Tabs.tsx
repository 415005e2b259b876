import * as Radix from '@radix-ui/react-tabs';
import type { ReactNode } from 'react';

export type Tab = { value: string; label: string; count?: number; body: ReactNode };

/** Parts of one page. The one that is open belongs into the address: `value` and `onValue` go through useUrlParams. */
export function Tabs({ tabs, value, onValue, label }: { tabs: Tab[]; value: string; onValue: (value: string) => void; label: string }) {
  return (
    <Radix.Root value={value} onValueChange={onValue} className="tabs">
      <Radix.List className="tab-list" aria-label={label}>
        {tabs.map((tab) => (
          <Radix.Trigger key={tab.value} value={tab.value} className="tab">
            {tab.label}
            {tab.count !== undefined && <span className="tab-count">{tab.count}</span>}
          </Radix.Trigger>
        ))}
      </Radix.List>
      {tabs.map((tab) => <Radix.Content key={tab.value} value={tab.value} className="tab-body" tabIndex={-1}>{tab.body}</Radix.Content>)}
    </Radix.Root>
  );
}

/** One of a few, all in sight: "Today | 7 days | 30 days". */
export function Segments<V extends string>({ label, value, onValue, choices }: { label: string; value: V; onValue: (value: V) => void; choices: { value: V; label: string }[] }) {
  return (
    <div className="segments" role="group" aria-label={label}>
      {choices.map((choice) => (
        <button key={choice.value} type="button" className="segment" aria-pressed={choice.value === value} onClick={() => onValue(choice.value)}>{choice.label}</button>
      ))}
    </div>
  );
}
