import { expect, test } from 'vitest';
import { creationOptions, fromBase64url, requestOptions, toBase64url } from './webauthn';
import { passwordFault, passwordReady, repeatFault } from './password';

test('base64url both ways, without padding', () => {
  for (let n = 0; n < 40; n += 1) {
    const bytes = Uint8Array.from({ length: n }, (_, at) => (at * 37 + 251) % 256);
    const text = toBase64url(bytes);
    expect(text).toMatch(/^[A-Za-z0-9_-]*$/);
    expect(fromBase64url(text)).toEqual(bytes);
  }
});

test('options may come wrapped', () => {
  const plain = { challenge: 'AQID', user: { id: 'BA', name: 'alice' }, rp: { name: 'p' }, excludeCredentials: [{ id: 'BQ', type: 'public-key' }] };
  for (const options of [plain, { publicKey: plain }]) {
    const made = creationOptions(options);
    expect(made.challenge).toEqual(new Uint8Array([1, 2, 3]));
    expect(made.user.id).toEqual(new Uint8Array([4]));
    expect(made.excludeCredentials?.[0]?.id).toEqual(new Uint8Array([5]));
  }
  expect(requestOptions({ challenge: 'AQID' }).allowCredentials).toEqual([]);
});

test('rules of passwords', () => {
  expect(passwordFault('')).toBeUndefined();
  expect(passwordFault('short')).toContain('3 more');
  expect(passwordFault('ü'.repeat(4))).toBeUndefined();
  expect(passwordFault('x'.repeat(1025))).toBeTruthy();
  expect(repeatFault('correct horse', 'corr')).toBeUndefined();
  expect(repeatFault('correct horse', 'cx')).toBeTruthy();
  expect(passwordReady('correct horse', 'correct horse')).toBe(true);
  expect(passwordReady('short', 'short')).toBe(false);
});
