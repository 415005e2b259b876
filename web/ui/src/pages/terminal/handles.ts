import type { State } from '../../terminal/machine';
import type { Wish } from '../../terminal/frames';
import type { Screen } from './screen';

/** What the bar at the top may do with the pane that is shown. */
export type Handle = {
  wish: Wish;
  screen: Screen;
  state: () => State;
  send: (text: string) => void;
  focus: () => void;
  toggleSearch: () => void;
  showFiles: () => void;
};

export class Screens {
  #handles = new Map<number, Handle>();
  #listeners = new Set<() => void>();

  get(id: number): Handle | undefined {
    return this.#handles.get(id);
  }

  /** Also called when something about a pane has changed that the bar shows. */
  set(id: number, handle: Handle | null): void {
    if (handle) this.#handles.set(id, handle);
    else this.#handles.delete(id);
    for (const tell of this.#listeners) tell();
  }

  listen(tell: () => void): () => void {
    this.#listeners.add(tell);
    return () => void this.#listeners.delete(tell);
  }
}
