// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';
import { completeness, fits, joinUrl, seconds, type Recording } from './data';

const row = { user: 'alice', login: 'deploy', host: 'web1', command: 'uptime', session: 's1', started: '2026-03-01T10:00:00Z' } as Recording;

describe('recordings', () => {
  it('fit by any part of what is said of them', () => {
    expect(['alice', 'WEB', 'deploy@web1', 'alice uptime', ''].map((text) => fits(row, text))).toEqual([true, true, true, true, true]);
    expect(fits(row, 'alice db')).toBe(false);
  });
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
