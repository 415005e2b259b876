import type { Wish } from '../../terminal/frames';
import { wishName } from '../../terminal/tabs';
import type { Change, Pane } from '../../terminal/tabs';
import { terminal as strings } from '../../strings/terminal';
import { IconButton, IconClose } from '../../ui';
import type { Handle } from './handles';
import { Live } from './Live';
import { Picker } from './Picker';

type Props = {
  pane: Pane;
  active: boolean;
  split: boolean;
  /** What another pane of the tab shows: offered first in this one. */
  before: Wish | null;
  change: (change: Change) => void;
  register: (id: number, handle: Handle | null) => void;
};

/** One part of a tab: a session, or the picker for one. */
export function PaneView({ pane, active, split, before, change, register }: Props) {
  return (
    <section className={`pane${active && split ? ' pane-active' : ''}`} onFocus={() => change({ is: 'focus', pane: pane.id })} aria-label={pane.wish ? wishName(pane.wish) : strings.picker}>
      {split && <IconButton size="small" className="pane-close" icon={<IconClose size={12} />} label={strings.closePane} onClick={() => change({ is: 'close-pane', pane: pane.id })} />}
      {pane.wish
        ? <Live key={pane.id} id={pane.id} wish={pane.wish} active={active} change={change} register={register} />
        : <Picker note={pane.note} active={active} before={before} onOpen={(wish) => change({ is: 'open', pane: pane.id, wish })} />}
    </section>
  );
}
