import { expect, test } from 'vitest';
import { bytes, duration, exact, relative } from '../lib/format';
import { allowed } from './may';
import { isAt } from './navigation';
import { hostOf, parseTarget, terminalUrl } from './target';

test('a target is a login and a host', () => {
  expect(parseTarget('alice@web1')).toEqual({ login: 'alice', host: 'web1', port: undefined });
  expect(parseTarget(' root@10.0.0.1:2222 ')).toEqual({ login: 'root', host: '10.0.0.1', port: 2222 });
  expect(hostOf(parseTarget('root@[2001:db8::1]:22')!)).toBe('[2001:db8::1]:22');
  for (const bad of ['', 'web1', '@web1', 'alice@', 'a b@c', 'alice@web1:0', 'alice@web1:70000', 'alice@web1:ssh', '-oProxy@x', 'alice@-x', 'alice@x/..', 'alice@x y']) {
    expect(parseTarget(bad)).toBeUndefined();
  }
  expect(terminalUrl('alice', 'web1:22')).toBe('/terminal?to=alice%40web1%3A22');
});

test('what the node does not mention is not allowed', () => {
  const may = { role: { create: '', delete: 'no role of yours allows deleting roles' } };
  expect(allowed(may, 'role', 'create')).toBeUndefined();
  expect(allowed(may, 'role', 'delete')).toBe('no role of yours allows deleting roles');
  expect(allowed(may, 'role', 'update')).toBeTruthy();
  expect(allowed(may, 'user', 'list')).toBeTruthy();
});

test('where one is', () => {
  expect(isAt('/cluster', '/clusters')).toBe(false);
  expect(isAt('/admin/roles', '/admin/roles/ops')).toBe(true);
});

test('sizes and times as people say them', () => {
  expect([0, 1023, 1536, 1024 ** 3 * 250].map(bytes)).toEqual(['0 B', '1023 B', '1.5 KiB', '250 GiB']);
  expect([5, 65, 3600, 3660, 90000].map(duration)).toEqual(['5 s', '1 min 5 s', '1 h', '1 h 1 min', '1 d 1 h']);
  const now = new Date('2026-03-04T05:06:07Z');
  const at = (s: number) => relative(new Date(now.getTime() + s * 1000), now);
  expect([0, -30, -90, -7200, -200000, 7300].map(at)).toEqual(['just now', '30 s ago', '1 min ago', '2 h ago', '2 d ago', 'in 2 h']);
  expect(exact(new Date(2026, 2, 4, 5, 6, 7))).toBe('2026-03-04 05:06:07');
});
