// Getting in: an invite, a code, a passkey; and one's own account.

import { execFileSync } from 'node:child_process';
import { api, assert, BOUND, browser, facts, freshCode, page, part, shot, totp, until } from './lib.mjs';

const node = facts.nodes[0];
const password = 'a password for the pages';
let secret;
let codes;
let made;
let context;

part('an invite lets somebody choose a password and store a secret', async () => {
  context = await browser();
  made = await page(context);
  const link = new URL(facts.invite);
  await made.goto(`${node.named}${link.pathname}${link.hash}`);
  await made.getByText('Welcome, carol').waitFor();
  secret = await until('the secret', async () => {
    const text = await made.locator('body').innerText();
    return text.replace(/\s/g, '').match(/[A-Z2-7]{32,}/)?.[0];
  });
  await shot(made, 'invite');
  await made.getByLabel('New password', { exact: true }).fill(password);
  await made.getByLabel('New password once more').fill('another');
  await made.getByLabel('Code from the app').fill(await freshCode(secret));
  await made.getByText('The two passwords differ').waitFor();
  await made.getByLabel('New password once more').fill(password);
  await made.getByRole('button', { name: 'Set password' }).click();
  await made.getByText('Your password is set').waitFor();
  codes = await shownCodes(made);
  await shot(made, 'invite-done');
});

/** Recovery codes, as a page shows them once. */
async function shownCodes(on) {
  const list = on.getByRole('list', { name: 'Recovery codes' });
  await list.waitFor();
  const all = await list.getByRole('listitem').allInnerTexts();
  assert.equal(all.length, 10);
  for (const code of all) assert.match(code, /^[a-z2-7]{5}-[a-z2-7]{5}$/);
  return all;
}

part('a link works once', async () => {
  await made.reload();
  await made.getByText('This link is no longer good').waitFor();
});

part('a wrong password and a wrong code get the one answer, and nobody in', async () => {
  await made.goto(`${node.named}/signin`);
  for (const [user, word, code] of [['carol', 'wrong', totp(secret)], ['nobody', password, '000000'], ['carol', password, '000000']]) {
    await made.getByLabel('User', { exact: true }).fill(user);
    await made.getByLabel('Password', { exact: true }).fill(word);
    await made.getByLabel('Code', { exact: true }).fill(code);
    const answered = made.waitForResponse((answer) => answer.url().endsWith('/v1/web/login'));
    await made.getByRole('button', { name: 'Sign in', exact: true }).click();
    assert.equal((await answered).status(), 401);
    await made.getByText('wrong user name, password or code').waitFor();
  }
  assert.equal((await context.cookies()).length, 0);
});

async function signIn(code, to = '/hosts') {
  await made.goto(`${node.named}/signin?to=${encodeURIComponent(to)}`);
  await made.getByLabel('User', { exact: true }).fill('carol');
  await made.getByLabel('Password', { exact: true }).fill(password);
  await made.getByLabel('Code', { exact: true }).fill(code);
  await made.getByRole('button', { name: 'Sign in', exact: true }).click();
  await made.waitForURL((url) => !url.pathname.startsWith('/signin'));
}

part('the right ones do, and lead where one wanted to go, on this site alone', async () => {
  await signIn(await freshCode(secret), '/account');
  assert.equal(new URL(made.url()).pathname, '/account');
  const [cookie] = (await context.cookies()).filter((one) => one.name === '__Host-palisade');
  assert.ok(cookie.httpOnly && cookie.secure && cookie.sameSite === 'Strict', JSON.stringify(cookie));
  // Nothing that opens a session is where a script finds it.
  const kept = await made.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  assert.ok(!kept.includes(cookie.value) && !kept.includes(cookie.value.split('.')[1]), kept);
  await shot(made, 'account');
});

part('a passkey is added after a confirmation, by an authenticator', async () => {
  const cdp = await context.newCDPSession(made);
  await cdp.send('WebAuthn.enable');
  await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2', transport: 'usb', hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  await made.getByRole('button', { name: 'Add passkey' }).first().click();
  await made.getByRole('dialog').getByLabel('Name').fill('blue key');
  await made.getByRole('dialog').getByRole('button', { name: 'Add passkey' }).click();
  await made.getByText('The passkey is added.').waitFor();
  await made.getByText('blue key').waitFor();
  const list = await api(made, 'GET', '/v1/web/passkeys');
  assert.equal(list.json.items.length, 1, list.text);
});

part('it opens a session without a name, a password or a code', async () => {
  await made.getByRole('button', { name: 'carol' }).first().click();
  await made.getByRole('menuitem', { name: 'Sign out' }).click();
  await made.waitForURL(/signin/);
  await made.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await made.waitForURL((url) => !url.pathname.startsWith('/signin'));
  const session = await api(made, 'GET', '/v1/web/session');
  assert.equal(session.json.user, 'carol');
  const list = await api(made, 'GET', '/v1/web/passkeys');
  assert.ok(list.json.items[0].used, list.text);
});

part('an answer that was used is not taken again', async () => {
  // What went over the wire, sent once more.
  let body;
  await made.route('**/v1/web/passkeys/login/finish', async (route) => {
    body = route.request().postDataJSON();
    await route.continue();
  });
  await api(made, 'POST', '/v1/web/logout');
  await made.goto(`${node.named}/signin`);
  await made.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await made.waitForURL((url) => !url.pathname.startsWith('/signin'));
  await made.unroute('**/v1/web/passkeys/login/finish');
  const again = await made.evaluate(async (body) => {
    const answer = await fetch('/v1/web/passkeys/login/finish', {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
    });
    return answer.status;
  }, body);
  assert.equal(again, 401);
});

part('other sessions are listed, and ended', async () => {
  const other = await browser();
  const there = await page(other);
  await there.goto(`${node.named}/signin`);
  await there.getByLabel('User', { exact: true }).fill('carol');
  await there.getByLabel('Password', { exact: true }).fill(password);
  await there.getByLabel('Code', { exact: true }).fill(await freshCode(secret));
  await there.getByRole('button', { name: 'Sign in', exact: true }).click();
  await there.waitForURL((url) => !url.pathname.startsWith('/signin'));
  await made.goto(`${node.named}/account`);
  const rows = made.getByRole('button', { name: /^End the session of/ });
  await until('two sessions', async () => (await rows.count()) >= 2);
  const enabled = rows.and(made.locator(':not([disabled]):not([aria-disabled="true"])'));
  await enabled.first().click();
  await made.getByText('The session has ended.').waitFor();
  await there.goto(`${node.named}/hosts`);
  await there.waitForURL(/signin/, { timeout: BOUND });
});

part('a recovery code stands once for the authenticator', async () => {
  const other = await page(await browser());
  for (const [code, comes] of [[codes[0], true], [codes[0], false]]) {
    await other.context().clearCookies();
    await other.goto(`${node.named}/signin`);
    await other.getByLabel('User', { exact: true }).fill('carol');
    await other.getByLabel('Password', { exact: true }).fill(password);
    await other.getByRole('button', { name: 'Use a recovery code' }).click();
    await other.getByLabel('Recovery code', { exact: true }).fill(code);
    const answered = other.waitForResponse((answer) => answer.url().endsWith('/v1/web/login'));
    await other.getByRole('button', { name: 'Sign in', exact: true }).click();
    assert.equal((await answered).status(), comes ? 200 : 401);
    if (comes) await other.waitForURL((url) => !url.pathname.startsWith('/signin'));
  }
});

part('new recovery codes void the older, and a new authenticator voids the old one', async () => {
  await made.goto(`${node.named}/account`);
  await made.getByText('9 of 10 still work.').waitFor();
  await confirmed(() => made.getByRole('button', { name: 'Make new codes' }).click());
  const fresh = await shownCodes(made);
  assert.ok(fresh.every((code) => !codes.includes(code)));
  await shot(made, 'recovery-codes');
  await made.getByRole('button', { name: 'I have kept them' }).click();
  await made.getByText('10 of 10 still work.').waitFor();
  await made.getByRole('button', { name: 'Set up a new one' }).click();
  const dialog = made.getByRole('dialog');
  const next = await until('the secret', async () => {
    const text = await dialog.innerText();
    return text.replace(/\s/g, '').match(/[A-Z2-7]{32,}/)?.[0];
  });
  await shot(made, 'new-authenticator');
  await dialog.getByLabel('Code from the app').fill(totp(next));
  await dialog.getByRole('button', { name: 'Use this one' }).click();
  await made.getByText('The new authenticator is set up.').waitFor();
  codes = await shownCodes(made);
  await made.getByRole('button', { name: 'I have kept them' }).click();
  secret = next;
});

/** Presses something that may ask first who sits there, and answers with the passkey. */
async function confirmed(press) {
  await press();
  const asked = made.getByText('Confirm that it is you');
  const done = made.getByRole('list', { name: 'Recovery codes' });
  await asked.or(done).first().waitFor();
  if (await asked.isVisible()) await made.getByRole('button', { name: 'Confirm with a passkey' }).click();
}

part('where the cluster wants it, a passkey counts beside the password alone', async () => {
  passwordless(false);
  await api(made, 'POST', '/v1/web/logout');
  await made.goto(`${node.named}/signin`);
  await made.getByLabel('User', { exact: true }).fill('carol');
  assert.equal(await made.getByRole('button', { name: 'Sign in with a passkey' }).count(), 0);
  const beside = made.getByRole('button', { name: 'Sign in with password and passkey' });
  await made.getByLabel('Password', { exact: true }).fill('not her password');
  await beside.click();
  await made.getByText('wrong user name, password or code').waitFor();
  // Alone it opens nothing, whatever a page says.
  const alone = await made.evaluate(async () => {
    const say = (path, body) => fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    const { id, options } = await (await say('/v1/web/passkeys/login/begin', {})).json();
    const credential = await navigator.credentials.get({ publicKey: { ...options, challenge: bytes(options.challenge), allowCredentials: [] } });
    return (await say('/v1/web/passkeys/login/finish', { id, credential: credential.toJSON() })).status;
  });
  assert.equal(alone, 401);
  await made.getByLabel('Password', { exact: true }).fill(password);
  await beside.click();
  await made.waitForURL((url) => !url.pathname.startsWith('/signin'));
  const session = await api(made, 'GET', '/v1/web/session');
  assert.equal(session.json.user, 'carol');
  passwordless(true);
});

/** Whether a passkey is enough without the password. */
function passwordless(enough) {
  const yaml = `kind: cluster_auth_preference\nmetadata: {name: cluster-auth-preference}\nspec: {second_factor: totp, passwordless: ${enough}}\n`;
  execFileSync(facts.palctl[0], [...facts.palctl.slice(1), 'create', '--force', '-f', '-'], { input: yaml });
}

part('a passkey that is removed opens nothing any more', async () => {
  await made.goto(`${node.named}/account`);
  await made.getByRole('button', { name: 'Remove', exact: true }).first().click();
  await made.getByText('Remove the passkey blue key?').waitFor();
  await made.getByRole('dialog').getByRole('button', { name: 'Remove', exact: true }).click();
  // A session that a passkey opened is as good a proof as any, for a while; after that one is asked.
  const asked = made.getByLabel('Password', { exact: true });
  await until('no passkey', async () => {
    if (await asked.count()) {
      await asked.fill(password);
      await made.getByLabel('Code', { exact: true }).fill(await freshCode(secret));
      await asked.press('Enter');
    }
    return (await api(made, 'GET', '/v1/web/passkeys')).json.items.length === 0;
  });
  await api(made, 'POST', '/v1/web/logout');
  await made.goto(`${node.named}/signin`);
  const answered = made.waitForResponse((answer) => answer.url().endsWith('/v1/web/passkeys/login/finish'));
  await made.getByRole('button', { name: 'Sign in with a passkey' }).click();
  assert.equal((await answered).status(), 401);
  assert.equal(new URL(made.url()).pathname, '/signin');
});
