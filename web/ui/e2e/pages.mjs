// Every page, in both themes, wide and narrow, for who may do everything and for who may do little.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { api, assert, browser, facts, page, part, session, shot, signIn, until } from './lib.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const node = facts.nodes[0];

let recording;
let role = 'access';

const pages = () => [
  '/hosts', '/hosts?q=nothing-has-this-name', '/clusters', '/account', '/approve', '/approve/BCDF-GHJK', '/cluster', '/sessions', '/sessions?view=inside', '/shared#nothing', `/recordings/${recording}`, '/audit', '/audit?type=user.login',
  '/admin/users', '/admin/users/~new', '/admin/roles', `/admin/roles/${role}`, '/admin/roles/~new', '/admin/locks', '/admin/tokens', '/admin/hosts', '/admin/hosts/~new',
  '/admin/policies', '/admin/policies/cluster_auth_preference', '/help', '/about', '/terminal', '/there-is-no-such-page',
];

/** Waits until nothing is loading any more. */
async function settled(made) {
  await made.waitForLoadState('networkidle', { timeout: 5000 }).catch(() => {});
  await until('the page', async () => (await made.locator('[aria-busy="true"]').count()) === 0 && (await made.locator('body').innerText()).trim().length > 20);
}

/** Two frames later: what was set is drawn. */
async function drawn(made) {
  await made.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
}

/** What an accessibility checker finds (WCAG 2.2 A and AA, and its best practices). */
async function faults(made) {
  // The page's policy lets no other script in; the checker is put there by the browser's own tools.
  const cdp = await made.context().newCDPSession(made);
  await cdp.send('Runtime.evaluate', { expression: axe });
  const found = await cdp.send('Runtime.evaluate', {
    expression: `axe.run(document, { resultTypes: ['violations'], rules: { 'color-contrast-enhanced': { enabled: false } } }).then((r) => JSON.stringify(r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.target.join(' ')).slice(0, 3).join(' | '))))`,
    awaitPromise: true,
    returnByValue: true,
  });
  await cdp.detach();
  return JSON.parse(found.result.value ?? '["the checker did not run"]');
}

/** Whether something is wider than the screen. */
async function tooWide(made) {
  return made.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

const wrong = [];

const looks = [
  ['wide-light', { width: 1440, height: 900 }, 'light'],
  ['wide-dark', { width: 1440, height: 900 }, 'dark'],
  ['narrow-dark', { width: 360, height: 740 }, 'dark'],
  ['narrow-light', { width: 360, height: 740 }, 'light'],
];

/** Looks at one page in these ways. It is loaded once: a size and a theme may change under a person at any time. */
async function look(made, path, ways) {
  made.complaints.length = 0;
  await made.setViewportSize(ways[0][1]);
  await made.emulateMedia({ colorScheme: ways[0][2] });
  await made.goto(node.url + path);
  await settled(made);
  const file = path.replace(recording, 'recording').replace(/[^a-z_]+/gi, '-').replace(/^-|-$/g, '') || 'home';
  for (const [name, size, theme] of ways) {
    await made.setViewportSize(size);
    await made.emulateMedia({ colorScheme: theme });
    await drawn(made);
    for (const fault of await faults(made)) wrong.push(`${name} ${path}: ${fault}`);
    const over = await tooWide(made);
    if (over > 1) wrong.push(`${name} ${path}: ${over} pixels wider than the screen`);
    await shot(made, `${name}-${file}`);
  }
  // What is refused to who may do little is an answer, and browsers write those down.
  for (const complaint of made.complaints) {
    if (!/the server responded with a status of (401|403|404)/.test(complaint)) wrong.push(`${path}: ${complaint}`);
  }
}

part('a session to look at', async () => {
  const context = await browser();
  const made = await page(context);
  await signIn(made, 'alice');
  recording = await session(made, 'web1', ['ls -la /', 'echo a recording', 'exit']);
  await until('it', async () => (await api(made, 'GET', `/v1/recordings/${recording}`)).status === 200);
  await context.close();
});

part('every page, wide and narrow, light and dark', async () => {
  const context = await browser();
  const made = await page(context);
  for (const path of ['/signin', '/invite/wrong']) await look(made, path, looks);
  await signIn(made, 'alice');
  for (const path of pages()) await look(made, path, looks);
  await context.close();
});

part('every page, for who may do little', async () => {
  const context = await browser();
  const made = await page(context);
  await signIn(made, 'bob');
  for (const path of pages()) await look(made, path, [['little', { width: 1440, height: 900 }, 'light']]);
  await context.close();
});

part('nothing is wrong with them', async () => {
  assert.deepEqual(wrong, [], wrong.join('\n'));
});
