// Programs that are let in from a browser: `pal login --browser`, and `pal ssh --headless` on somebody else's computer.

import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { api, assert, browser, facts, page, part, shot, signIn, until } from './lib.mjs';

const node = facts.nodes[0];
const addr = new URL(node.url).host;
let made;

/** Starts `pal` in a home of its own; what it says is kept. */
function pal(...words) {
  const home = mkdtempSync(join(tmpdir(), 'palisade-home-'));
  const env = { PATH: process.env.PATH, HOME: home, USER: 'erin' };
  const child = spawn(facts.pal, ['--proxy', addr, ...words], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const run = { home, out: '', err: '', code: undefined };
  child.stdout.on('data', (bytes) => (run.out += bytes));
  child.stderr.on('data', (bytes) => (run.err += bytes));
  run.ended = new Promise((resolve) => child.on('close', (code) => resolve((run.code = code))));
  return run;
}

const login = (...words) => pal('login', '--browser', '--ca-pin', facts.pin, ...words);
const headless = (target, command) => pal('ssh', '--headless', '--ca-pin', facts.pin, target, command);

/** The address that a program asks its user to open, and the code beside it. */
async function asks(run) {
  const url = await until('the address', () => {
    assert.equal(run.code, undefined, run.err);
    return run.err.match(/https:\/\/\S+\/approve\/\S+/)?.[0];
  });
  const code = run.err.match(/code: (\S+)/)?.[1];
  assert.equal(new URL(url).pathname, `/approve/${code}`);
  return { url, code };
}

part('a login is allowed in a browser that has to sign in first, and lands on the question', async () => {
  const context = await browser();
  made = await page(context);
  const run = login();
  const { url, code } = await asks(run);
  await made.goto(url);
  await made.waitForURL(/signin/);
  await made.getByLabel('User', { exact: true }).fill('alice');
  await made.getByLabel('Password', { exact: true }).fill(facts.people.alice.password);
  await made.getByRole('button', { name: 'Sign in', exact: true }).click();
  await made.waitForURL(url);
  await made.getByText('A login as alice').waitFor();
  await made.getByText(code, { exact: true }).waitFor();
  await made.getByText('pal, run by erin on').waitFor();
  await shot(made, 'approve');
  assert.equal(run.code, undefined, 'it waits');
  await made.getByRole('button', { name: 'Yes, let it in' }).click();
  await made.getByText('It is let in.').waitFor();
  assert.equal(await run.ended, 0, run.err);
  assert.match(run.out, /User: +alice/);
  const log = await api(made, 'GET', '/v1/audit/events?event=user.approval');
  assert.equal(log.json.items.length, 1, log.text);
  assert.equal(log.json.items[0].event.user, 'alice');
});

part('a program is turned away, and says so', async () => {
  const run = login();
  const { code } = await asks(run);
  // Typed, as on another device.
  await made.goto(`${node.url}/approve`);
  await made.getByLabel('Code').fill(code.toLowerCase().replace('-', ''));
  await made.getByRole('button', { name: 'Look' }).click();
  await made.getByText(code, { exact: true }).waitFor();
  await made.getByRole('button', { name: 'No', exact: true }).click();
  await made.getByText('It is turned away.').waitFor();
  assert.equal(await run.ended, 1);
  assert.match(run.err, /turned away/);
  assert.deepEqual(readdirSync(run.home), [], 'nothing was kept');
});

part('one command runs at one host, and nothing is left behind', async () => {
  const run = headless(`${facts.me}@${facts.hosts.agent}`, 'echo from-$((6*7))');
  const { url } = await asks(run);
  await made.goto(url);
  await made.getByText(`One connection to ${facts.hosts.agent} as ${facts.me}`).waitFor();
  await made.getByRole('button', { name: 'Yes, let it in' }).click();
  assert.equal(await run.ended, 0, run.err);
  assert.equal(run.out, 'from-42\n');
  assert.deepEqual(readdirSync(run.home), [], 'nothing was kept');
  assert.deepEqual(readdirSync('/dev/shm').filter((name) => name.startsWith('pal-')), []);
});

part('an account that roles do not allow is refused before it is granted', async () => {
  const run = headless(`nobody-here@${facts.hosts.agent}`, 'true');
  const { url } = await asks(run);
  await made.goto(url);
  await made.getByRole('button', { name: 'Yes, let it in' }).click();
  await made.getByText('your roles do not allow login nobody-here').waitFor();
  await made.getByRole('button', { name: 'No', exact: true }).click();
  assert.equal(await run.ended, 1, run.err);
});

part('a code that nothing waits under says what to do', async () => {
  await made.goto(`${node.url}/approve/BCDF-GHJK`);
  await made.getByText('Nothing waits under this code').waitFor();
  await made.getByText('Run the command again').waitFor();
});

part('somebody else lets in nobody but themselves', async () => {
  const other = await page(await browser());
  await signIn(other, 'bob', { path: '/hosts' });
  const run = login('--user', 'alice');
  const { url } = await asks(run);
  await other.goto(url);
  await other.getByText('A login as bob').waitFor();
  await other.getByRole('button', { name: 'Yes, let it in' }).click();
  assert.equal(await run.ended, 1);
  assert.match(run.err, /the browser is bob's, not yours/);
  assert.deepEqual(readdirSync(run.home), [], 'nothing was kept');
});
