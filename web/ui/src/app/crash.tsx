import { Component } from 'react';
import type { ReactNode } from 'react';
import { app } from '../strings/app';
import { Button, Code, Empty, IconError } from '../ui';

// A chunk that a newer build of the node no longer has: loading the page again mends it.
const outdated = /dynamically imported module|module script failed|Failed to fetch/i;

/** Stands around every page: one that fails takes nothing else down, and says so. */
export class Crash extends Component<{ children: ReactNode; at?: string }, { error: Error | null; at?: string }> {
  override state: { error: Error | null; at?: string } = { error: null, at: this.props.at };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  static getDerivedStateFromProps(props: { at?: string }, state: { at?: string }) {
    return props.at === state.at ? null : { error: null, at: props.at };
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <div className="page" role="alert">
        <Empty icon={<IconError size={32} />} title={app.crashed} action={<Button look="primary" onClick={() => location.reload()}>{app.reload}</Button>}>
          {outdated.test(error.message) ? app.outdated : app.crashedHelp}
        </Empty>
        <Code text={error.message} label={app.crashed} />
      </div>
    );
  }
}
