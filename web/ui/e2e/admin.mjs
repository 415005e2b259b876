// The audit log, and records: by form, by YAML, and with the reason where not.

import { join } from 'node:path';
import { api, assert, browser, facts, page, part, shot, signIn, until } from './lib.mjs';

let context;
let made;
const at = facts.nodes[0].url;

part('the log says in words what happened, and shows all of it', async () => {
  context = await browser();
  made = await page(context);
  await signIn(made, 'alice', { path: '/audit' });
  await made.getByText('alice logged in', { exact: false }).first().waitFor();
  await until('the chain', async () => /The chain (verifies|does not verify)|not checked yet|No head was signed/.test(await made.locator('body').innerText()));
  await shot(made, 'audit');
});

part('a filter is in the address, and what it finds is given out', async () => {
  await made.goto(`${at}/audit?type=record.create`);
  await until('records only', async () => {
    const text = await made.locator('main').innerText();
    return text.includes('created') && !text.includes('alice logged in');
  });
  const lines = await api(made, 'GET', '/v1/audit/download?event=record.create');
  const events = lines.text.trim().split('\n').map((line) => JSON.parse(line));
  assert.ok(events.length >= 2 && events.every((line) => line.event.event === 'record.create'), lines.text);
});

part('a lock is made by a form, holds, and is removed', async () => {
  await made.goto(`${at}/admin/locks`);
  await made.getByText('Nothing is locked').waitFor();
  await made.getByRole('button', { name: 'Lock …' }).or(made.getByRole('link', { name: 'Lock …' })).first().click();
  const dialog = made.getByRole('dialog');
  await dialog.getByLabel('Name', { exact: false }).first().fill('bob');
  await dialog.getByLabel('Why').fill('see security');
  await shot(made, 'lock');
  await dialog.getByRole('button', { name: 'Lock', exact: true }).click();
  await made.getByText('see security').first().waitFor();
  const locks = await api(made, 'GET', '/v1/records/lock');
  assert.equal(locks.json.items[0].spec.target.user, 'bob', locks.text);
  const other = await browser();
  const bobs = await page(other);
  const answer = await bobs.goto(`${at}/signin`).then(() =>
    bobs.evaluate(async ([password]) => {
      const headers = { 'content-type': 'application/json' };
      const body = JSON.stringify({ user: 'bob', password, code: '' });
      return (await fetch('/v1/web/login', { method: 'POST', headers, body })).status;
    }, [facts.people.bob.password]),
  );
  assert.equal(answer, 403);
  await api(made, 'DELETE', `/v1/records/lock/${locks.json.items[0].metadata.name}`);
});

part('a faulty text is named with its place and the nearest right name', async () => {
  await made.goto(`${at}/admin/roles/~new`);
  const editor = made.locator('.cm-content').first();
  await editor.click();
  await made.keyboard.press('Control+A');
  await made.keyboard.insertText('kind: role\nversion: v1\nmetadata:\n  name: dev\nspec:\n  allow:\n    login: [dev]\n');
  await made.getByText('Line 7, column 5').waitFor();
  await made.getByText('unknown field "login" in spec.allow').waitFor();
  await made.getByRole('button', { name: 'Use logins' }).waitFor();
  await shot(made, 'role-fault');
  await editor.click();
  await made.keyboard.press('Control+A');
  await made.keyboard.insertText("kind: role\nversion: v1\nmetadata:\n  name: dev\nspec:\n  allow:\n    logins: [dev]\n    host_labels: {env: prod}\n");
  await until('no fault', async () => /No faults/.test(await made.locator('main').innerText()));
  await made.getByRole('button', { name: /^(Create|Review and save|Save)/ }).first().click();
  const dialog = made.getByRole('dialog').or(made.getByRole('alertdialog'));
  if (await dialog.first().waitFor({ timeout: 3000 }).then(() => true, () => false)) {
    await shot(made, 'role-review');
    await dialog.getByRole('button', { name: /^(Create|Save)/ }).first().click();
  }
  await until('the role', async () => (await api(made, 'GET', '/v1/records/role/dev')).status === 200);
});

part('a user is added, and gets a link that is shown once', async () => {
  const invite = await api(made, 'POST', '/v1/records/user', { kind: 'user', metadata: { name: 'dora' }, spec: { roles: ['access'] } });
  assert.equal(invite.status, 201, invite.text);
  await made.goto(`${at}/admin/users`);
  await made.getByText('dora').first().waitFor();
  await made.getByRole('button', { name: 'More about dora' }).click();
  await made.getByRole('menuitem', { name: 'Invite or reset link' }).click();
  const dialog = made.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Create link' }).click();
  await until('the link', async () => /\/invite\/[\w-]{20,}/.test(await dialog.innerText() + (await dialog.locator('input, textarea, code').evaluateAll((all) => all.map((one) => one.value ?? one.textContent).join(' ')))));
  await shot(made, 'invite-link');
});

part('what a role forbids is disabled, with the reason', async () => {
  const other = await browser();
  const bobs = await page(other);
  await signIn(bobs, 'bob', { path: '/admin/users' });
  await until('a reason', async () => /none of your roles allows/.test(await bobs.locator('body').innerText() + (await bobs.locator('[aria-description]').evaluateAll((all) => all.map((one) => one.getAttribute('aria-description')).join(' ')))));
  await shot(bobs, 'users-forbidden');
  const may = (await api(bobs, 'GET', '/v1/web/session')).json.may;
  assert.match(may.user.list, /none of your roles allows/);
});

part('the cluster page shows the nodes, and what to do next', async () => {
  await made.goto(`${at}/cluster`);
  await made.getByText('n1').first().waitFor();
  await made.getByText('Leader').first().waitFor();
  await shot(made, 'cluster');
});

part('the documentation is there, and found', async () => {
  await made.goto(`${at}/help`);
  await until('the help', async () => /Operating/.test(await made.locator('main').innerText()));
  await shot(made, 'help');
});

part('the log is given out whole, to be verified elsewhere', async () => {
  const download = made.waitForEvent('download');
  await made.goto(`${at}/audit`);
  await made.getByRole('button', { name: 'Export' }).click();
  await made.getByRole('menuitem', { name: 'The whole log, for offline verification' }).click();
  await (await download).saveAs(join(facts.folder, 'audit.ndjson'));
});
