import { expect, test } from 'vitest';
import { patched, returnPath } from './url';

const origin = 'https://palisade.example:3080';

test.each([
  ['/sessions', '/sessions'],
  ['/audit?user=alice&from=2026-01-01#7', '/audit?user=alice&from=2026-01-01#7'],
  ['/terminal?to=alice@web1', '/terminal?to=alice@web1'],
])('%s is a page', (asked, path) => expect(returnPath(asked, origin)).toBe(path));

test.each([
  null, '', 'sessions', 'https://evil.example', 'https:evil.example', '//evil.example', '///evil.example', '/\\evil.example', '\\\\evil.example',
  '/\t/evil.example', '/\n/evil.example', ' //evil.example', '\u0000//evil.example', '/.//evil.example', '/..//evil.example', '/a/..//evil.example', '/%2e//evil.example',
  'javascript:alert(1)', 'data:text/html,x', '/signin', '/signin?to=/signin', '/v1/web/logout', 'http://palisade.example:3080/x', '@evil.example', '/x\u007f', '.evil.example',
])('%j leads to the start', (asked) => expect(returnPath(asked, origin)).toBe('/hosts'));

test('whatever is asked, the answer stays here', () => {
  const pieces = ['/', '\\', '.', '..', '//', '%2f', '%5c', '@', ':', 'evil.example', 'https:', '\t', '?', '#', 'a'];
  for (let n = 0; n < 15 ** 4; n += 3) {
    const asked = Array.from({ length: 4 }, (_, at) => pieces[Math.floor(n / 15 ** at) % 15]).join('');
    expect(new URL(returnPath(asked, origin), origin).origin).toBe(origin);
  }
});

test('parameters that are empty are left out', () => {
  expect(patched('?q=a&tab=2', { q: '', user: 'bob' })).toBe('?tab=2&user=bob');
  expect(patched('q=a', { q: undefined })).toBe('');
});
