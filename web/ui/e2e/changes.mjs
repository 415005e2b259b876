// Every button of the pages for administration and the cluster that changes something: pressed by somebody with the right,
// and seen with its reason by somebody without. What came of it is asked of the API, never read off the page.

import { api, assert, browser, facts, page, part, shot, signIn, until } from './lib.mjs';

const at = facts.nodes[0].url;
const REASON = /none of your roles allows/;
let alice;
let eve;

const record = (kind, name) => api(alice, 'GET', `/v1/records/${kind}/${name}`);
const records = async (kind) => (await api(alice, 'GET', `/v1/records/${kind}`)).json.items;
const gone = (kind, name) => until(`${kind} ${name} to be gone`, async () => (await record(kind, name)).status === 404);
/** A record, once it is as wanted. */
const becomes = (kind, name, wanted) => until(`${kind} ${name}`, async () => {
  const answer = await record(kind, name);
  return answer.status === 200 && wanted(answer.json) && answer.json;
});

const button = (made, name, options = {}) => made.getByRole('button', { name, exact: true, ...options });
const dialog = (made) => made.getByRole('dialog').or(made.getByRole('alertdialog'));
const goto = (made, path) => made.goto(at + path);

/** The menu of a row. */
async function more(made, name) {
  await button(made, `More about ${name}`).click();
  return made.getByRole('menu');
}

/** Types words into a list of the form. */
async function list(made, label, words) {
  const box = made.getByLabel(label, { exact: true });
  for (const word of words) {
    await box.fill(word);
    await box.press('Enter');
  }
}

/** A button that somebody may not press: it says why, and pressing it does nothing. */
async function forbidden(what, found) {
  await found.waitFor();
  assert.equal(await found.getAttribute('aria-disabled'), 'true', `${what} is not disabled`);
  const described = await found.getAttribute('aria-describedby');
  const why = described ? await eve.locator(`[id="${described.split(' ')[0]}"]`).textContent() : await found.textContent();
  assert.match(why ?? '', REASON, `${what} does not say why`);
  await found.click({ force: true });
  assert.equal(await dialog(eve).count(), 0, `${what} opened something`);
}

/** The API refuses as well. */
async function refused(method, path, body) {
  const answer = await api(eve, method, path, body);
  assert.equal(answer.status, 403, `${method} ${path}: ${answer.status} ${answer.text}`);
}

part('somebody who may do everything, and somebody who may look at everything', async () => {
  alice = await page(await browser());
  eve = await page(await browser());
  await signIn(alice, 'alice', { path: '/admin/users' });
  await signIn(eve, 'eve', { path: '/admin/users' });
});

part('a user is added by the form, and gets a link', async () => {
  await button(alice, 'Add user').click();
  await alice.getByLabel('Name', { exact: true }).fill('fred');
  await list(alice, 'Roles', ['access']);
  await button(alice, 'Create').click();
  const made = await becomes('user', 'fred', () => true);
  assert.deepEqual(made.spec.roles, ['access']);
  // The link is offered next.
  await dialog(alice).getByText('Link for fred').waitFor();
  await dialog(alice).getByRole('button', { name: 'Create link' }).click();
  await button(dialog(alice), 'Done').click();
  const invited = await api(alice, 'GET', '/v1/audit/events?event=user.invite&text=fred');
  assert.ok(invited.json.items.some((item) => item.event.event === 'user.invite'), invited.text);
});

part('a user is changed, locked and removed from the list', async () => {
  await goto(alice, '/admin/users');
  await (await more(alice, 'fred')).getByRole('menuitem', { name: 'Edit' }).click();
  await list(alice, 'Roles', ['auditor']);
  await button(alice, 'Save').click();
  await becomes('user', 'fred', (user) => user.spec.roles.includes('auditor'));
  await goto(alice, '/admin/users');
  await (await more(alice, 'fred')).getByRole('menuitem', { name: 'Lock', exact: true }).click();
  assert.equal(await dialog(alice).getByLabel('Name', { exact: true }).inputValue(), 'fred');
  await button(dialog(alice), 'Lock').click();
  await until('the lock', async () => (await records('lock')).some((lock) => lock.spec.target.user === 'fred'));
  await goto(alice, '/admin/users');
  await (await more(alice, 'fred')).getByRole('menuitem', { name: 'Remove' }).click();
  const remove = button(dialog(alice), 'Remove');
  await remove.click({ force: true });
  assert.equal((await record('user', 'fred')).status, 200, 'the name was not typed yet');
  await dialog(alice).getByLabel('Type fred to confirm').fill('fred');
  await remove.click();
  await gone('user', 'fred');
});

part('locks on a host, a role and a login are made and removed', async () => {
  await goto(alice, '/admin/locks');
  for (const [kind, label, name, ttl] of [['host', 'Host', 'plain1', ''], ['role', 'Role', 'little', '3600'], ['login', 'Login', 'nobody', '86400']]) {
    await button(alice, 'Lock …').click();
    await button(dialog(alice), label).click();
    await dialog(alice).getByLabel('Name', { exact: true }).fill(name);
    await dialog(alice).getByLabel('For how long').selectOption(ttl);
    await button(dialog(alice), 'Lock').click();
    const lock = await until(`the lock on ${name}`, async () => (await records('lock')).find((one) => one.spec.target[kind] === name));
    assert.equal(lock.metadata.expires === undefined, ttl === '', JSON.stringify(lock));
  }
  await shot(alice, 'locks');
  // What is locked is refused: by the API, at once.
  const said = await api(alice, 'GET', `/v1/hosts/plain1/file?login=${facts.me}&path=x`);
  assert.equal(said.status, 403, said.text);
  for (let left = (await records('lock')).length; left > 0; left -= 1) {
    await button(alice, 'Unlock').first().click();
    await button(dialog(alice), 'Unlock').click();
    await until('one lock fewer', async () => (await records('lock')).length === left - 1);
    await until('the dialog to close', async () => (await dialog(alice).count()) === 0);
  }
});

part('a role is made by the form, changed, and removed in the editor', async () => {
  await goto(alice, '/admin/roles');
  await button(alice, 'Add role').click();
  await alice.getByLabel('Name', { exact: true }).fill('ops');
  await list(alice, 'Logins', ['deploy']);
  await button(alice, 'Create').click();
  await button(dialog(alice), 'Create').click();
  await becomes('role', 'ops', (role) => role.spec.allow.logins.includes('deploy'));
  await alice.waitForURL(/\/admin\/roles\/ops/);
  await alice.getByLabel('Sessions at a time').fill('3');
  await button(alice, 'Review and save').click();
  await button(dialog(alice), 'Save').click();
  await becomes('role', 'ops', (role) => role.spec.options.max_sessions === 3);
});

/** Somebody else changes the role in the meantime. */
async function meanwhile(sessions) {
  const now = (await record('role', 'ops')).json;
  now.spec.options.max_sessions = sessions;
  const changed = await api(alice, 'PUT', '/v1/records/role/ops', now);
  assert.equal(changed.status, 200, changed.text);
}

part('who was slower sees what the other did, and decides', async () => {
  await goto(alice, '/admin/roles/ops');
  await alice.getByLabel('Description').fill('mine');
  await meanwhile(5);
  await button(alice, 'Review and save').click();
  await button(dialog(alice), 'Save').click();
  await alice.getByText('Somebody else saved it in the meantime').waitFor();
  await shot(alice, 'conflict');
  await button(alice, 'Keep mine over theirs').click();
  await button(alice, 'Review and save').click();
  await button(dialog(alice), 'Save').click();
  await becomes('role', 'ops', (role) => role.metadata.description === 'mine' && role.spec.options.max_sessions === 3);
  await goto(alice, '/admin/roles/ops');
  await alice.getByLabel('Description').fill('mine again');
  await meanwhile(7);
  await button(alice, 'Review and save').click();
  await button(dialog(alice), 'Save').click();
  await button(alice, 'Take theirs, drop mine').click();
  await until('theirs', async () => (await alice.getByLabel('Sessions at a time').inputValue()) === '7');
  const kept = (await record('role', 'ops')).json;
  assert.deepEqual([kept.metadata.description, kept.spec.options.max_sessions], ['mine', 7]);
  await button(alice, 'Remove').click();
  await dialog(alice).getByLabel('Type ops to confirm').fill('ops');
  await button(dialog(alice), 'Remove').click();
  await gone('role', 'ops');
});

part('join tokens for a host and for a node are made, shown once, and revoked', async () => {
  await goto(alice, '/admin/tokens');
  await button(alice, 'Create token').click();
  await dialog(alice).getByLabel('Name of the host').fill('web9');
  await dialog(alice).getByLabel('Labels').fill('env=test, role=db');
  await button(dialog(alice), 'Create').click();
  const shown = await until('the token', async () => (await dialog(alice).innerText()).match(/pj1\.[\w.-]+/)?.[0]);
  await button(dialog(alice), 'Done').click();
  const token = await until('its record', async () => (await records('token')).find((one) => one.spec.host?.name === 'web9'));
  assert.deepEqual(token.spec.host.labels, { env: 'test', role: 'db' });
  assert.ok(shown.includes(token.metadata.name) && token.spec.secret_sha256 === '', 'the secret was shown once, and no hash of it ever');
  await button(alice, 'Create token').click();
  await button(dialog(alice), 'A node of the cluster').click();
  await button(dialog(alice), 'Create').click();
  await button(dialog(alice), 'Done').click();
  await until('its record', async () => (await records('token')).some((one) => !one.spec.host));
  for (let left = (await records('token')).length; left > 0; left -= 1) {
    await button(alice, 'Revoke').first().click();
    await button(dialog(alice), 'Revoke').click();
    await until('one token fewer', async () => (await records('token')).length === left - 1);
    await until('the dialog to close', async () => (await dialog(alice).count()) === 0);
  }
});

part('a host is added, changed and removed', async () => {
  await goto(alice, '/admin/hosts');
  await button(alice, 'Add OpenSSH server').click();
  await alice.getByLabel('Name', { exact: true }).fill('db7');
  await alice.getByLabel(/^Address/).fill('127.0.0.1:7');
  await alice.getByLabel('Labels: Add a name').fill('env');
  await alice.getByLabel('Labels: Add a name').press('Enter');
  await alice.getByLabel('Labels, env').fill('lab');
  await button(alice, 'Create').click();
  const made = await becomes('host', 'db7', () => true);
  assert.deepEqual([made.spec.addr, made.metadata.labels], ['127.0.0.1:7', { env: 'lab' }]);
  await goto(alice, '/admin/hosts');
  await (await more(alice, 'db7')).getByRole('menuitem', { name: 'Edit' }).click();
  await alice.getByLabel(/^Address/).fill('127.0.0.1:9');
  await button(alice, 'Save').click();
  await becomes('host', 'db7', (host) => host.spec.addr === '127.0.0.1:9');
  await goto(alice, '/admin/hosts');
  await (await more(alice, 'db7')).getByRole('menuitem', { name: 'Remove' }).click();
  await dialog(alice).getByLabel('Type db7 to confirm').fill('db7');
  await button(dialog(alice), 'Remove').click();
  await gone('host', 'db7');
  await button(alice, 'Add host with an agent').click();
  await dialog(alice).getByText('Create a join token').waitFor();
  await button(dialog(alice), 'Cancel').click();
});

part('every policy is changed', async () => {
  for (const [policy, label, value, field, wanted] of [
    ['cluster_auth_preference', 'Failures before waiting', '7', 'max_failures', 7],
    ['session_recording_config', 'Bytes kept of a command', '4096', 'exec_capture_bytes', 4096],
    ['cluster_maintenance_config', 'Take out silent nodes after', '24h', 'dead_node_after', '1d'],
  ]) {
    await goto(alice, `/admin/policies/${policy}`);
    await alice.getByLabel(label).fill(value);
    await button(alice, 'Save').click();
    await becomes(policy, policy.replaceAll('_', '-'), (one) => one.spec[field] === wanted);
  }
});

part('leadership is handed over, and a node is taken out', async () => {
  const status = async () => (await api(alice, 'GET', '/v1/cluster/status')).json;
  const leader = async () => {
    const now = await status();
    return now.nodes.find((node) => node.id === now.leader)?.name;
  };
  const first = await until('a leader', leader);
  await goto(alice, '/cluster');
  await button(alice, 'Hand over leadership').click();
  await button(dialog(alice), 'Hand over').click();
  await until('another leader', async () => {
    const now = await leader();
    return now && now !== first;
  });
  await until('the dialog to close', async () => (await dialog(alice).count()) === 0);
  // To one that is named.
  const menu = async (node, item) => {
    await until(`"${item}" of ${node}`, async () => {
      await alice.keyboard.press('Escape');
      await button(alice, `What to do with ${node}`).click();
      return (await alice.getByRole('menuitem', { name: item }).getAttribute('aria-disabled')) !== 'true';
    });
    await alice.getByRole('menuitem', { name: item }).click();
  };
  if ((await leader()) !== 'n1') {
    await menu('n1', 'Make it the leader');
    await button(dialog(alice), 'Hand over').click();
  }
  await until('n1 to lead', async () => (await leader()) === 'n1');
  await goto(alice, '/cluster');
  await menu('n3', 'Remove from the cluster');
  await dialog(alice).getByLabel('Type n3 to confirm').fill('n3');
  await button(dialog(alice), 'Remove node').click();
  await until('two nodes', async () => (await status()).nodes.length === 2);
  assert.equal((await record('node', 'n3')).status, 404);
});

part('who may only look sees every button with the reason why not, and the API says the same', async () => {
  // Something to be looked at.
  for (const one of [
    { kind: 'lock', metadata: { name: 'kept' }, spec: { target: { login: 'nobody' } } },
    { kind: 'host', metadata: { name: 'kept' }, spec: { addr: '127.0.0.1:7' } },
  ]) await api(alice, 'POST', `/v1/records/${one.kind}`, one);
  const token = (await api(alice, 'POST', '/v1/tokens', {})).json.name;
  const before = await api(alice, 'GET', '/v1/audit/events?event=record.');
  for (const [path, names] of [
    ['/admin/users', ['Add user']], ['/admin/roles', ['Add role']], ['/admin/locks', ['Lock …', 'Unlock']], ['/admin/tokens', ['Create token', 'Revoke']],
    ['/admin/hosts', ['Add OpenSSH server', 'Add host with an agent']], ['/cluster', ['Hand over leadership']],
    ['/admin/users/bob', ['Save', 'Remove']], ['/admin/roles/access', ['Review and save', 'Remove']], ['/admin/hosts/kept', ['Save', 'Remove']],
    ['/admin/policies/cluster_auth_preference', ['Save']],
  ]) {
    await goto(eve, path);
    for (const name of names) await forbidden(`${name} of ${path}`, button(eve, name).first());
  }
  for (const [path, row, items] of [
    ['/admin/users', 'More about bob', ['Invite or reset link', 'Lock', 'Remove']],
    ['/admin/roles', 'More about access', ['Remove']],
    ['/admin/hosts', 'More about kept', ['Remove']],
    ['/cluster', 'What to do with n2', ['Make it the leader', 'Remove from the cluster']],
  ]) {
    await goto(eve, path);
    for (const item of items) {
      await eve.keyboard.press('Escape');
      await button(eve, row).click();
      await forbidden(`${item} of ${row}`, eve.getByRole('menuitem', { name: item }));
    }
  }
  await shot(eve, 'only-looks');
  const host = { kind: 'host', metadata: { name: 'kept' }, spec: { addr: '127.0.0.1:8' } };
  await refused('POST', '/v1/records/user', { kind: 'user', metadata: { name: 'x' }, spec: { roles: [] } });
  await refused('POST', '/v1/records/role', { kind: 'role', metadata: { name: 'x' }, spec: {} });
  await refused('POST', '/v1/records/lock', { kind: 'lock', metadata: { name: 'x' }, spec: { target: { login: 'x' } } });
  await refused('PUT', '/v1/records/host/kept', host);
  await refused('PUT', '/v1/records/cluster_auth_preference/cluster-auth-preference?upsert=true', { kind: 'cluster_auth_preference', metadata: { name: 'cluster-auth-preference' }, spec: {} });
  for (const path of ['user/bob', 'role/access', 'lock/kept', 'host/kept', `token/${token}`]) await refused('DELETE', `/v1/records/${path}`);
  await refused('POST', '/v1/users/bob/invites', {});
  await refused('POST', '/v1/tokens', {});
  await refused('POST', '/v1/cluster/transfer', {});
  await refused('DELETE', '/v1/cluster/nodes/n2');
  const after = await api(alice, 'GET', '/v1/audit/events?event=record.');
  assert.equal(after.json.items[0].seq, before.json.items[0].seq, 'nothing was changed');
});
