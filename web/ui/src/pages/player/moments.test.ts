// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';
import type { AuditItem } from '../../audit/sentence';
import { ofLog, peopleOf } from './moments';

const item = (seq: number, event: string, session: string, user: string, mode?: string): AuditItem =>
  ({ seq, code: 'PS100I', event: { event, time: '2026-03-01T10:00:05Z', session, user, data: mode === undefined ? {} : { mode } } }) as unknown as AuditItem;

const items = [
  item(1, 'session.join', 's1', 'bob', 'observer'),
  item(2, 'session.join', 's1', 'bob', 'observer'),
  item(3, 'session.join', 's1', 'bob', 'peer'),
  item(4, 'session.join', 's2', 'eve', 'observer'),
  item(5, 'session.play', 's1', 'audrey'),
  item(6, 'recording.share', 's1', 'audrey'),
];

describe('who took part', () => {
  it('is the owner and everybody who joined this session, each once as each', () => {
    expect(peopleOf('alice', items, 's1')).toEqual([
      { user: 'alice', mode: 'owner' },
      { user: 'bob', mode: 'observer' },
      { user: 'bob', mode: 'peer' },
    ]);
  });
  it('is no matter of who played or shared it since', () => {
    expect(ofLog(items, 's1', Date.parse('2026-03-01T10:00:00Z'), 10_000).map(({ key, at }) => [key, at])).toEqual([['a1', 5000], ['a2', 5000], ['a3', 5000]]);
  });
});
