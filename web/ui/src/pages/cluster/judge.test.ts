import { expect, test } from 'vitest';
import { health, matches } from '../clusters/health';
import { canLead, certTone, compareVersions, diskTone, skew, soonest, toleranceWithout } from './judge';
import type { NodeStatus } from './judge';

const node = (name: string, version: string | null, more: Partial<NodeStatus> = {}): NodeStatus => ({
  id: 1, name, role: 'follower', voter: true, peer_addr: '', web_addr: '', ssh_addr: '', reachable: true, lag: 0, last_contact_ms: 0, silent_ms: null, removed_in_secs: null,
  ...(version === null ? {} : { vitals: { version, certificates: [] as unknown[] } as NodeStatus['vitals'] }),
  ...more,
});

test('versions are compared by their numbers', () => {
  const sorted = ['0.10.0', '0.9.1', '0.10.0-rc.1', '1.0', '0.9'].sort(compareVersions);
  expect(sorted).toEqual(['0.9', '0.9.1', '0.10.0-rc.1', '0.10.0', '1.0']);
});

test('skew names who is behind; a node that says nothing is not judged', () => {
  expect(skew([node('n1', '0.2.0'), node('n2', '0.2.0'), node('n3', null)])).toBeUndefined();
  expect(skew([])).toBeUndefined();
  expect(skew([node('n1', '0.9.0'), node('n2', '0.10.0')])).toEqual({ newest: '0.10.0', behind: ['n1'], list: 'n1 0.9.0, n2 0.10.0' });
});

test('what a removal leaves', () => {
  const five = ['a', 'b', 'c', 'd', 'e'].map((name) => node(name, '1'));
  expect(toleranceWithout(five, 'a')).toBe(1);
  expect(toleranceWithout(five.slice(0, 3), 'a')).toBe(0);
  expect(toleranceWithout([...five.slice(0, 3), node('x', null, { reachable: false })], 'x')).toBe(1);
  expect(toleranceWithout(five.slice(0, 1), 'a')).toBe(0);
});

test('figures that want attention', () => {
  expect([diskTone(1 << 20, 1e12), diskTone(2 ** 29, 1e12), diskTone(2 ** 40, 2 ** 41), diskTone(2 ** 31, 2 ** 40)]).toEqual(['bad', 'warn', 'plain', 'warn']);
  expect([certTone('https', 3), certTone('https', 0), certTone('peer', 10), certTone('tls authority', 60), certTone('peer', 100)]).toEqual(['plain', 'bad', 'warn', 'warn', 'plain']);
  const ends = [{ what: 'https', ends: '', days_left: 5 }, { what: 'peer', ends: '', days_left: 300 }];
  const one = node('a', '1');
  one.vitals!.certificates = ends;
  expect(soonest(one)?.what).toBe('https');
});

test('who can lead', () => {
  expect(canLead(node('a', '1'))).toBe(true);
  expect(canLead(node('a', '1', { role: 'leader' }))).toBe(false);
  expect(canLead(node('a', '1', { reachable: false }))).toBe(false);
  expect(canLead(node('a', '1', { voter: false, role: 'learner' }))).toBe(false);
});

test('health of a cluster, and finding one by any part', () => {
  expect(health({ quorum: false, advice: [], nodes: [] })).toBe('noQuorum');
  expect(health({ quorum: true, advice: [], nodes: [node('a', '1', { reachable: false })] })).toBe('attention');
  expect(health({ quorum: true, advice: [], nodes: [node('a', '1')] })).toBe('healthy');
  expect(matches('PROD 3080', ['prod', 'https://x:3080'])).toBe(true);
  expect(matches('prod 443', ['prod', 'https://x:3080'])).toBe(false);
});
