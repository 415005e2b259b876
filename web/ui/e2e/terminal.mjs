// From the list of hosts to a shell, and on with the same shell when the node that served it is gone.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { assert, browser, facts, page, part, shot, signIn, until, watched } from './lib.mjs';

let context;
let hosts;
let made;

/** What stands on the screen of the terminal that is in front. */
async function screen() {
  return made.locator('.xterm-rows').first().innerText();
}

async function type(text) {
  await made.keyboard.type(text);
  await made.keyboard.press('Enter');
}

async function shows(text, bound) {
  return until(`"${text}" on the screen`, async () => (await screen()).replace(/\u00a0/g, ' ').includes(text), bound);
}

part('hosts are listed with their logins, and found by text', async () => {
  context = await browser();
  hosts = await page(context);
  await signIn(hosts, 'alice');
  await hosts.getByText('web1').first().waitFor();
  await hosts.getByText('plain1').first().waitFor();
  await hosts.getByLabel('Search by name, address or label').fill('env=prod');
  await until('one host', async () => !(await hosts.locator('body').innerText()).includes('plain1'));
  assert.ok(new URL(hosts.url()).search.includes('env'), 'the search is in the address');
  await shot(hosts, 'hosts');
});

part('a host opens in a tab of its own, with a shell that knows its size', async () => {
  const opens = context.waitForEvent('page');
  await hosts.getByRole('button', { name: `Connect to web1 as ${facts.me}` }).or(hosts.getByRole('link', { name: `Connect to web1 as ${facts.me}` })).first().click();
  made = watched(await opens);
  await made.locator('.xterm').first().waitFor();
  await made.locator('.xterm-helper-textarea').first().focus();
  await until('a prompt', async () => (await screen()).trim().length > 0);
  await type('PS1=; stty -echo');
  await type('marker=kept-$((6*7)); echo ready-$((40+2))');
  await shows('ready-42');
  await until('the title', async () => (await made.title()).includes(`${facts.me}@web1`));
  await shot(made, 'terminal');
});

part('a window that changes its size changes that of the shell', async () => {
  await made.setViewportSize({ width: 900, height: 600 });
  const before = await until('a size', async () => {
    await type('stty size; echo size-end');
    return (await screen()).match(/\b(\d+) (\d+)\b/)?.[0];
  });
  await made.setViewportSize({ width: 1440, height: 900 });
  await until('another size', async () => {
    await type('clear; stty size');
    const now = (await screen()).match(/\b(\d+) (\d+)\b/)?.[0];
    return now && now !== before;
  });
});

part('what a shell writes does not reach the clipboard or answer back', async () => {
  await type('clear; printf "\\033]52;c;cGFsaXNhZGU=\\a"; printf "\\033]0;evil title\\a"; echo done-$((1+1))');
  await shows('done-2');
  assert.ok(!(await made.title()).includes('evil'), await made.title());
});

part('after the node is killed the same shell goes on, through another node', async () => {
  const serving = facts.nodes[0];
  process.kill(serving.pid, 'SIGKILL');
  const began = Date.now();
  await until('the shell, through another node', async () => {
    await made.locator('.xterm-helper-textarea').first().focus();
    await type('clear; echo $marker-still');
    return (await screen()).includes('kept-42-still');
  }, 60_000);
  console.log(`        the same shell ${Date.now() - began} ms after the kill`);
  await shot(made, 'terminal-after-kill');
});

part('exit ends the tab and shows the picker', async () => {
  await made.locator('.xterm-helper-textarea').first().focus();
  await type('exit');
  await made.getByLabel('Host, label or login@host:port').first().waitFor();
});

part('a file goes up and comes back the same', async () => {
  const other = await browser();
  made = await page(other);
  await signIn(made, 'alice', { at: facts.nodes[1].url, path: `/terminal?to=${facts.me}@web1` });
  const bytes = randomBytes(300_000);
  const answer = await made.evaluate(
    async ([login, folder, base64]) => {
      const session = await (await fetch('/v1/web/session')).json();
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const at = `/v1/hosts/web1/file?login=${login}&path=${encodeURIComponent(`${folder}/up.bin`)}`;
      const up = await fetch(at, { method: 'PUT', headers: { 'x-palisade-csrf': session.csrf, 'content-type': 'application/octet-stream' }, body: bytes });
      const down = await fetch(at);
      const back = new Uint8Array(await down.arrayBuffer());
      return { up: up.status, why: up.ok ? '' : await up.text(), down: down.status, same: back.length === bytes.length && back.every((b, i) => b === bytes[i]) };
    },
    [facts.me, facts.folder, bytes.toString('base64')],
  );
  assert.deepEqual(answer, { up: 204, why: '', down: 200, same: true });
  assert.ok(readFileSync(join(facts.folder, 'up.bin')).equals(bytes));
});
