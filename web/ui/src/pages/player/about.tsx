import type { ReactNode } from 'react';
import { exact, bytes } from '../../lib/format';
import { playedLength } from '../../player/idle';
import type { Engine } from '../../player/engine';
import { player as words } from '../../strings/player';
import { sessions } from '../../strings/sessions';
import { Facts, Note } from '../../ui';
import { completeness, useNodeNames, type Participant } from '../sessions/data';
import { People } from '../sessions/parts';
import { lengthText } from './controls';

/** What is known of a recording to whoever is signed in. */
export function About({ engine, people }: { engine: Engine; people: readonly Participant[] | undefined }) {
  const node = useNodeNames();
  return <RecordingFacts engine={engine} people={people} node={node} />;
}

type Props = { engine: Engine; people?: readonly Participant[] | undefined; node: (id: number) => string };

/** What a recording says of itself. */
export function RecordingFacts({ engine, people, node }: Props) {
  const row = engine.start;
  if (row === undefined) return null;
  const state = completeness(row);
  const { facts } = words;
  const items: [string, ReactNode][] = [
    [facts.user, row.user],
    [facts.target, `${row.login}@${row.host}`],
    [facts.people, people && people.length > 1 ? <People key="people" people={people} /> : undefined],
    [facts.kind, sessions.kinds[row.session_kind] ?? row.session_kind],
    [facts.command, row.command || undefined],
    [facts.started, exact(new Date(row.started), true)],
    [facts.ended, row.ended ? exact(new Date(row.ended), true) : words.runs],
    [facts.length, lengthText(engine.duration)],
    [facts.played, lengthText(playedLength(engine.duration, engine.idle.spans))],
    [facts.from, row.client_addr || undefined],
    [facts.node, node(row.node)],
    [facts.recorded, row.at_agent ? words.atHost : words.atNode],
    [facts.mode, words.modes[row.mode] ?? row.mode],
    [facts.output, row.output_bytes ? bytes(row.output_bytes) : undefined],
    [facts.state, state.label],
    [facts.session, row.session],
    [facts.hash, row.last_chunk || undefined],
  ];
  return (
    <>
      {state.why && <Note tone="warn" title={state.label}>{state.why}</Note>}
      <Facts items={items.filter(([, value]) => value !== undefined)} />
      {engine.masked && engine.masked.length > 0 && (
        <Note tone="info" title={words.masked}>{engine.masked.map(({ name, count }) => words.maskedBy(name, count)).join(', ')}</Note>
      )}
    </>
  );
}
