import { useMemo } from 'react';
import { api, call, useQuery, type ApiError } from '../../api';
import { isWarning } from '../../audit/kinds';
import { useMayAudit } from '../../audit/may';
import { sentence, type AuditItem, type Piece } from '../../audit/sentence';
import { bytes, exact } from '../../lib/format';
import type { Engine } from '../../player/engine';
import { player as words } from '../../strings/player';
import type { Participant } from '../sessions/data';

/** Something that happened beside the output, with the moment at which it did. */
export interface Moment {
  key: string;
  at: number;
  pieces: Piece[];
  warning: boolean;
  event?: AuditItem;
}

const POLL_MS = 5000;
const show = (time: string) => exact(new Date(time));

/** What the recording itself says. */
function ofRecording(engine: Engine): Moment[] {
  let sizes = 0;
  return engine.marks.flatMap(({ at, what }, i): Moment[] => {
    const text = (words: string, warning = false): Moment[] => [{ key: `r${i}`, at, pieces: [{ text: words }], warning }];
    switch (what.kind) {
      case 'note':
        return text(what.text, true);
      case 'exec':
        return text(words.command(what.text));
      case 'exit':
        return text(words.exit(what.status), what.status !== 0);
      case 'captured':
        return text(words.captured(words.directions[what.direction] ?? what.direction, bytes(what.size), bytes(what.recorded)));
      case 'resize':
        return what.cols > 0 && what.rows > 0 && sizes++ < 200 ? text(words.size(what.cols, what.rows)) : [];
      default:
        return [];
    }
  });
}

/** What the audit log says of the session, at the moment of the recording at which it happened. */
export function ofLog(items: readonly AuditItem[], session: string, started: number, end: number): Moment[] {
  return items
    // What was done with the recording since is no part of the session.
    .filter(({ event }) => event.session === session && event.event !== 'session.play' && !event.event.startsWith('recording.'))
    .map((item) => ({
      key: `a${item.seq}`,
      at: Math.max(0, Math.min(end, new Date(item.event.time).getTime() - started)),
      pieces: sentence(item.event, show),
      warning: isWarning(item.code),
      event: item,
    }));
}

/** What the recording itself says, for whoever may not read the audit log. */
export function useOwnMoments(engine: Engine, version: number): Moment[] {
  // eslint-disable-next-line react-hooks/exhaustive-deps -- the version stands for what was read
  return useMemo(() => ofRecording(engine), [engine, version]);
}

/** Who took part, each with what they were: the owner, and those of whom the audit log says that they joined. */
export function peopleOf(owner: string, items: readonly AuditItem[], session: string): Participant[] {
  const joined = items.filter(({ event }) => event.session === session && (event.event as string) === 'session.join');
  const people = [{ user: owner, mode: 'owner' }, ...joined.map(({ event }) => ({ user: event.user ?? '', mode: event.data?.['mode'] ?? '' }))];
  return people.filter((one, i) => people.findIndex((other) => other.user === one.user && other.mode === one.mode) === i);
}

export function useMoments(session: string, engine: Engine, version: number, live: boolean): { moments: Moment[]; people: Participant[] | undefined; refused: string | undefined; error: ApiError | undefined } {
  const refused = useMayAudit();
  const found = useQuery(
    refused ? null : ['moments', session],
    (signal) => call(api.GET('/v1/audit/events', { params: { query: { text: session, limit: 1000, oldest_first: true } }, signal })),
    { poll: live ? POLL_MS : 0 },
  );
  const items = found.data?.items;
  const moments = useMemo(() => {
    const started = new Date(engine.start?.started ?? 0).getTime();
    const all = [...ofRecording(engine), ...(engine.start && items ? ofLog(items, session, started, engine.duration) : [])];
    return all.sort((a, b) => a.at - b.at);
  }, [engine, items, session, version]); // eslint-disable-line react-hooks/exhaustive-deps -- the version stands for what was read
  const owner = engine.start?.user;
  const people = useMemo(() => (owner === undefined || items === undefined ? undefined : peopleOf(owner, items, session)), [owner, items, session]);
  return { moments, people, refused, error: found.error };
}
