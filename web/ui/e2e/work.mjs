// What people do at hosts and with their own account, by its buttons: joining others' sessions, hosts that are typed, files.

import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { api, assert, browser, facts, page, part, session, shot, signIn, until, watched } from './lib.mjs';

const at = facts.nodes[0].url;
const file = (name) => join(facts.folder, name);
let alice;
let dave;

const button = (made, name, options = {}) => made.getByRole('button', { name, exact: true, ...options });
const screen = async (made) => (await made.locator('.xterm-rows').first().innerText()).replace(/\u00a0/g, ' ');
const shows = (made, text) => until(`"${text}" on the screen`, async () => (await screen(made)).includes(text));

async function type(made, text) {
  await made.locator('.xterm-helper-textarea').first().focus();
  await made.keyboard.type(text);
  await made.keyboard.press('Enter');
}

/** A page that pressing something opens. */
async function opens(context, press) {
  const coming = context.waitForEvent('page');
  await press();
  const made = watched(await coming);
  await made.locator('.xterm').first().waitFor();
  return made;
}

/** A shell at a host, in a page of its own. */
async function shell(made, target) {
  const here = await page(made.context());
  await here.goto(`${at}/terminal?to=${encodeURIComponent(target)}`);
  await here.locator('.xterm').first().waitFor();
  await until('a prompt', async () => (await screen(here)).trim().length > 0);
  await type(here, 'PS1=; stty -echo; echo ready-$((40+2))');
  await shows(here, 'ready-42');
  return here;
}

const live = async () => (await api(alice, 'GET', '/v1/sessions')).json.items;
const events = async (query) => (await api(alice, 'GET', `/v1/audit/events?${query}`)).json.items;

part('two people', async () => {
  alice = await page(await browser());
  dave = await page(await browser());
  await signIn(alice, 'alice', { path: '/sessions' });
  await signIn(dave, 'dave', { path: '/hosts' });
});

let owner;
let id;

/** Joins the session of dave by the menu of its row. */
async function joins(mode) {
  await alice.goto(`${at}/sessions`);
  return opens(alice.context(), async () => {
    await button(alice, `Join dave as ${facts.me}@web1`).click();
    await alice.getByRole('menuitem', { name: mode }).click();
  });
}

/** Who is in it, as the node says. */
const inIt = (mode) => until(`alice in it as ${mode}`, async () => {
  const found = (await live()).find((one) => one.session === id);
  return found?.participants.some((one) => one.user === 'alice' && one.mode === mode);
});

part('an observer sees a live session, and what they type stays with them', async () => {
  owner = await shell(dave, `${facts.me}@web1`);
  id = (await until('the session', async () => (await live()).find((one) => one.user === 'dave'))).session;
  const joined = await joins('observer');
  await inIt('observer');
  await type(owner, 'echo for-$((3*5))-all');
  await shows(joined, 'for-15-all');
  await type(joined, `touch ${file('by-observer')}`);
  // Something that comes after it, and that its owner types.
  await type(owner, `touch ${file('by-owner')}; echo owner-$((2*8))`);
  await shows(joined, 'owner-16');
  assert.ok(existsSync(file('by-owner')) && !existsSync(file('by-observer')), 'what the observer typed is not at the host');
  await shot(joined, 'observer');
  await joined.close({ runBeforeUnload: false });
});

part('a peer types into the same shell', async () => {
  const joined = await joins('peer');
  await inIt('peer');
  await type(joined, `echo peer > ${file('by-peer')}; echo peer-$((7*7))`);
  await shows(owner, 'peer-49');
  assert.equal(readFileSync(file('by-peer'), 'utf8'), 'peer\n');
  await joined.close({ runBeforeUnload: false });
});

part('a moderator ends it, and its owner is told by whom', async () => {
  const joined = await joins('moderator');
  await inIt('moderator');
  await joined.locator('.xterm-helper-textarea').first().focus();
  await joined.keyboard.type('t');
  await owner.getByText('alice, a moderator, ended the session', { exact: false }).first().waitFor();
  await until('it to be over', async () => !(await live()).some((one) => one.session === id));
  const modes = (await events(`event=session.join&text=${id}`)).map((item) => item.event.data?.mode ?? item.event.message);
  for (const mode of ['observer', 'peer', 'moderator']) assert.ok(modes.some((said) => said?.includes(mode)), JSON.stringify(modes));
  await owner.close({ runBeforeUnload: false });
  await joined.close({ runBeforeUnload: false });
});

part('a session that is over says so at once', async () => {
  const late = await page(alice.context());
  const own = await session(alice, 'web1', ['exit']);
  await until('it to be over', async () => (await api(alice, 'GET', `/v1/recordings/${own}`)).json?.recording.completeness === 'complete');
  const began = Date.now();
  await late.goto(`${at}/terminal?session=${own}`);
  await late.getByText('this session is over', { exact: false }).first().waitFor();
  assert.ok(Date.now() - began < 15_000, 'it was not looked for until the page gave up');
  await late.close({ runBeforeUnload: false });
});

part("one's own is taken up again from the list", async () => {
  const first = await shell(alice, `${facts.me}@web1`);
  await type(first, 'marker=kept-$((6*7)); echo set-$((1+1))');
  await shows(first, 'set-2');
  await alice.goto(`${at}/sessions`);
  const again = await opens(alice.context(), async () => {
    await button(alice, `Join alice as ${facts.me}@web1`).click();
    await alice.getByRole('menuitem', { name: 'Take up again' }).click();
  });
  await until('the same shell', async () => {
    await type(again, 'clear; echo $marker-still');
    return (await screen(again)).includes('kept-42-still');
  });
  assert.equal((await live()).filter((one) => one.user === 'alice').length, 1, 'there is one shell, not two');
  await type(again, 'exit');
  await until('it to end', async () => !(await live()).some((one) => one.user === 'alice'));
  await first.close({ runBeforeUnload: false });
  await again.close({ runBeforeUnload: false });
});

part('a host that is typed is reached by its address and port', async () => {
  const target = `${facts.me}@${facts.hosts.addr}`;
  await alice.goto(`${at}/hosts`);
  const box = alice.getByPlaceholder('login@host:port');
  await box.fill('not a target');
  await button(alice, 'Connect').click();
  await alice.getByText('Type it as login@host or login@host:port').waitFor();
  await box.fill(target);
  const made = await opens(alice.context(), () => button(alice, 'Connect').click());
  await until('a prompt', async () => (await screen(made)).trim().length > 0);
  const found = await until('the session', async () => (await live()).find((one) => one.user === 'alice'));
  assert.deepEqual([found.host, found.login], ['plain1', facts.me]);
  await type(made, 'exit');
  // The picker, to which its end leads, takes the same.
  const input = made.getByLabel('Host, label or login@host:port');
  await input.fill(target);
  await button(made, `Connect to ${target}`).click();
  await until('another session', async () => (await live()).some((one) => one.user === 'alice' && one.session !== found.session));
  await made.locator('.xterm').first().waitFor();
  await until('a prompt', async () => (await screen(made)).trim().length > 0);
  await type(made, 'exit');
  await until('it to end', async () => !(await live()).some((one) => one.user === 'alice'));
  await made.close({ runBeforeUnload: false });
});

part('a host that nobody let them reach is refused, by the page and by the socket', async () => {
  const bob = await page(await browser());
  await signIn(bob, 'bob', { path: '/hosts' });
  const box = bob.getByPlaceholder('login@host:port');
  await box.fill(`root@${facts.hosts.addr}`);
  const coming = bob.context().waitForEvent('page');
  await button(bob, 'Connect').click();
  const made = watched(await coming);
  await until('the refusal', async () => /no access|not allowed|refused|may not/i.test(await made.locator('body').innerText()));
  await assert.rejects(session(bob, facts.hosts.addr, ['exit']), /"code":"refused"/);
  await bob.context().close();
});

part('files go up and down by the dialog, and an upload is cancelled', async () => {
  const made = await shell(alice, `${facts.me}@web1`);
  const bytes = randomBytes(200_000);
  writeFileSync(file('small.bin'), bytes);
  writeFileSync(file('large.bin'), randomBytes(24_000_000));
  await button(made, 'Upload and download').click();
  const dialog = made.getByRole('dialog');
  const upload = async (name, to) => {
    await dialog.locator('input[type=file]').setInputFiles(file(name));
    await dialog.getByLabel('To', { exact: true }).fill(to);
    await button(dialog, 'Upload').click();
  };
  await upload('small.bin', file('up.bin'));
  await until('the file at the host', () => existsSync(file('up.bin')) && readFileSync(file('up.bin')).equals(bytes));
  // So slow that there is time to think better of it.
  const cdp = await made.context().newCDPSession(made);
  const slow = (uploadThroughput) => cdp.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput });
  await cdp.send('Network.enable');
  await slow(500_000);
  await upload('large.bin', file('never.bin'));
  await button(dialog, 'Cancel large.bin').waitFor();
  await button(dialog, 'Cancel large.bin').click();
  await dialog.getByText('Cancelled').waitFor();
  const size = () => (existsSync(file('never.bin')) ? statSync(file('never.bin')).size : 0);
  assert.ok(size() < 24_000_000, 'it was cancelled');
  await shot(made, 'upload-cancelled');
  await slow(-1);
  await button(dialog, 'Try again: large.bin').click();
  await until('all of it', () => size() === 24_000_000);
  const download = made.waitForEvent('download');
  await dialog.getByLabel('Path on the host').fill(file('up.bin'));
  await button(dialog, 'Download').click();
  const saved = file('down.bin');
  await (await download).saveAs(saved);
  assert.ok(readFileSync(saved).equals(bytes));
  const moved = await until('what the log says', async () => {
    const all = await events('event=session.file');
    return all.length >= 3 && all;
  });
  assert.ok(moved.some((item) => JSON.stringify(item.event).includes('up.bin')), JSON.stringify(moved));
  await made.keyboard.press('Escape');
  await type(made, 'exit');
  await made.close({ runBeforeUnload: false });
});

part('a new password ends the other sessions, and is the one that counts', async () => {
  const other = await page(await browser());
  await signIn(other, 'dave', { path: '/account' });
  await dave.goto(`${at}/account`);
  await button(dave, 'Change password').click();
  const dialog = dave.getByRole('dialog');
  const fresh = 'a newer password for dave';
  await dialog.getByLabel('New password', { exact: true }).fill(fresh);
  await dialog.getByLabel('New password once more').fill(fresh);
  await button(dialog, 'Save password').click();
  // Whoever sits there for longer is asked once more who they are.
  const asked = dave.getByLabel('Password', { exact: true });
  await until('the change', async () => {
    if (await asked.count()) {
      await asked.fill(facts.people.dave.password);
      await button(dave, 'Confirm').click();
    }
    return (await api(other, 'GET', '/v1/web/sessions')).status === 401;
  });
  assert.equal((await api(dave, 'GET', '/v1/web/session')).json.user, 'dave', 'this one goes on');
  const login = (password) => other.evaluate(async ([password]) => {
    const body = JSON.stringify({ user: 'dave', password, code: '' });
    return (await fetch('/v1/web/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body })).status;
  }, [password]);
  assert.deepEqual([await login(facts.people.dave.password), await login(fresh)], [401, 200]);
});
