// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';
import { completeness, isNarrowed, joinUrl, placeUrl, queryOf, readFilter, seconds, type Recording } from './data';

const row = { user: 'alice', login: 'deploy', host: 'web1', command: 'uptime', session: 's1', started: '2026-03-01T10:00:00Z' } as Recording;

describe('recordings', () => {
  it('are narrowed by what the address says, a whole day at either end', () => {
    const filter = readFilter(new URLSearchParams('q= web &user=alice&since=2026-03-01&until=2026-03-01&host=&login=x'));
    expect(isNarrowed(filter)).toBe(true);
    const { since = '', until = '', ...texts } = queryOf(filter);
    expect(texts).toEqual({ q: 'web', user: 'alice', login: 'x' });
    expect([since, until]).toEqual([new Date(2026, 2, 1).toISOString(), new Date(2026, 2, 2).toISOString()]);
  });
  it('are not narrowed by days that there are not', () => {
    const filter = readFilter(new URLSearchParams('since=2026-13-45&until=yesterday'));
    expect([isNarrowed(filter), queryOf(filter)]).toEqual([false, {}]);
  });
  it('are played at the place where a text was found', () => expect(placeUrl('s 1', 61_234, 'a&b')).toBe('/recordings/s%201?t=61.234&q=a%26b'));
  it('say how complete they are', () => {
    expect(completeness({ completeness: 'live' }).tone).toBe('info');
    expect(completeness({ completeness: { interrupted: 'node died' } })).toMatchObject({ tone: 'warn', why: 'node died' });
  });
  it('last until they ended, or until now', () => {
    expect(seconds({ ...row, ended: '2026-03-01T10:01:00Z' }, new Date())).toBe(60);
    expect(seconds(row, new Date('2026-03-01T10:00:05Z'))).toBe(5);
  });
  it('are joined by address', () => expect(joinUrl('a b', 'peer')).toBe('/terminal?session=a+b&mode=peer'));
});
