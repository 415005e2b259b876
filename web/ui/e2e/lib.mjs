// What the files beside it share: a browser, the people of a world, and a way to say what was found. The world is made by
// node/tests/web_ui.rs: real nodes, a real agent, a stock sshd. Nothing here stands in for any of them.

import { createHmac } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

export { assert };

/** What the world is: nodes with name, url, named, pid; people with their passwords; hosts. */
export const facts = JSON.parse(readFileSync(process.env.PALISADE_FACTS, 'utf8'));

/** How long anything may take on a busy machine, in milliseconds. */
export const BOUND = 30_000;

const program = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

const opened = [];

/** A browser with a profile of its own. `size` is what its windows are. */
export async function browser({ size = { width: 1440, height: 900 }, theme = 'light', more = {} } = {}) {
  assert.ok(program, 'there is no Chromium: scripts/setup.sh test installs it');
  const profile = mkdtempSync(join(tmpdir(), 'palisade-browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: program,
    headless: true,
    ignoreHTTPSErrors: true,
    viewport: size,
    colorScheme: theme,
    acceptDownloads: true,
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      // Nobody told this browser of the cluster's authority; also for sockets, which the option above leaves out.
      '--ignore-certificate-errors',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
    ...more,
  });
  context.setDefaultTimeout(BOUND);
  opened.push({ context, profile });
  return context;
}

/** Closes every browser that was opened. */
export async function closeAll() {
  for (const { context, profile } of opened.splice(0)) {
    await context.close().catch(() => {});
    rmSync(profile, { recursive: true, force: true });
  }
}

/** A page that keeps what went wrong in it: uncaught errors, and what the browser complains of. */
export async function page(context) {
  return watched(await context.newPage());
}

/** The same for a page that another one opened. */
export function watched(made) {
  made.complaints = [];
  made.on('pageerror', (error) => made.complaints.push(`uncaught: ${error.message}`));
  made.on('console', (message) => {
    if (message.type() === 'error') made.complaints.push(message.text());
  });
  return made;
}

/** Signs somebody in with their password, and a code if there is one. */
export async function signIn(made, name, { at = facts.nodes[0].url, path = '/hosts', code } = {}) {
  await made.goto(`${at}/signin?to=${encodeURIComponent(path)}`);
  await made.getByLabel('User', { exact: true }).fill(name);
  await made.getByLabel('Password', { exact: true }).fill(facts.people[name].password);
  if (code) await made.getByLabel('Code', { exact: true }).fill(code);
  await made.getByRole('button', { name: 'Sign in', exact: true }).click();
  await made.waitForURL((url) => !url.pathname.startsWith('/signin'));
}

/** The code of a base32 secret (RFC 6238), `steps` from now. */
export function totp(secret, steps = 0) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  let bits = '';
  for (const letter of secret.replace(/[\s=]/g, '').toUpperCase()) {
    bits += alphabet.indexOf(letter).toString(2).padStart(5, '0');
  }
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const mac = createHmac('sha1', key).update(counter).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

let lastStep = 0;

/** A code that was not used yet: of this step, or of the next, which is taken as well; waits if both were used. */
export async function freshCode(secret) {
  const now = () => Math.floor(Date.now() / 30_000);
  const step = Math.max(lastStep + 1, now());
  await until('a step whose code was not used', () => step <= now() + 1, 45_000);
  lastStep = step;
  return totp(secret, step - now());
}

/** Asks until the answer is right; says the last one if it never is. */
export async function until(what, ask, bound = BOUND) {
  const end = Date.now() + bound;
  let last;
  for (;;) {
    try {
      last = await ask();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${bound} ms; last: ${last?.stack ?? last}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A call of the API with the session of a page, as its scripts would make it. */
export async function api(made, method, path, body) {
  return made.evaluate(
    async ([method, path, body]) => {
      const session = await (await fetch('/v1/web/session')).json();
      const headers = { 'x-palisade-csrf': session.csrf ?? '' };
      if (body !== undefined) headers['content-type'] = 'application/json';
      const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
      const text = await answer.text();
      let json;
      try {
        json = JSON.parse(text);
      } catch {
        json = undefined;
      }
      return { status: answer.status, text, json };
    },
    [method, path, body],
  );
}

/** A picture of the page, in the folder that PALISADE_SHOTS names; none without it. */
export async function shot(made, name) {
  const folder = process.env.PALISADE_SHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await made.screenshot({ path: join(folder, `${name}.png`) });
}

const parts = [];

/** One thing that must hold; they run in order, and the first that does not hold ends the file. */
export function part(name, run) {
  parts.push({ name, run });
}

/** Runs all parts; false if one failed. */
export async function runParts() {
  for (const { name, run } of parts) {
    const began = Date.now();
    try {
      await run();
      console.log(`ok      ${name} (${Date.now() - began} ms)`);
    } catch (error) {
      console.log(`FAILED  ${name}\n${error.stack}`);
      for (const { context } of opened) {
        for (const made of context.pages()) {
          console.log(`-- ${made.url()}\n${(made.complaints ?? []).join('\n')}`);
          console.log((await made.locator('body').innerText().catch(() => '')).slice(0, 3000));
          await shot(made, `failed-${Date.now()}`);
        }
      }
      return false;
    }
  }
  return parts.length > 0;
}

/** A session at a host, typed from a page by the socket that its terminals use; answers its id once it has ended. */
export async function session(made, host, lines, { columns = 100, rows = 30 } = {}) {
  return made.evaluate(
    async ([host, login, lines, cols, rows]) => {
      const { csrf } = await (await fetch('/v1/web/session')).json();
      const socket = new WebSocket(`wss://${location.host}/v1/terminal`);
      socket.binaryType = 'arraybuffer';
      let id;
      await new Promise((resolve, reject) => {
        socket.onerror = () => reject(new Error('the socket failed'));
        socket.onopen = () => socket.send(JSON.stringify({ open: { csrf, host, login, cols, rows } }));
        socket.onmessage = ({ data }) => {
          if (typeof data !== 'string') return socket.send(JSON.stringify({ ack: data.byteLength }));
          const frame = JSON.parse(data);
          if (frame.failed) return reject(new Error(data));
          if (frame.closed) return resolve();
          if (!frame.opened) return;
          id = frame.opened.session;
          for (const line of lines) socket.send(new TextEncoder().encode(`${line}\n`));
        };
        socket.onclose = () => resolve();
      });
      return id;
    },
    [host, facts.me, lines, columns, rows],
  );
}
