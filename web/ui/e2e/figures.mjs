// What the pages cost, in a browser: run by benches/src/web.rs, which keeps what is written at the end. Times are taken in the
// page, so that the way of a key from this program to the browser is in none of them.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { api, assert, browser, facts, page, part, session, signIn, until } from './lib.mjs';

const at = facts.nodes[0].url;
const figures = {};
const median = (all) => [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)];
const kept = (name, all) => {
  const sorted = [...all].sort((a, b) => a - b);
  figures[name] = { median: median(all), low: sorted[Math.floor(all.length / 10)], high: sorted[Math.floor((all.length * 9) / 10)] };
};

/** Set up before anything of a page runs: what it records is read by `read`. */
async function watching(made, script) {
  await made.addInitScript(script);
}

part('signing in, on a phone of the middle range and its network', async () => {
  const took = [];
  for (let n = 0; n < facts.times; n += 1) {
    // Each with an empty cache, as somebody who comes for the first time.
    const context = await browser({ size: { width: 360, height: 740 } });
    const made = await page(context);
    const cdp = await context.newCDPSession(made);
    // Lighthouse's mobile profile.
    await cdp.send('Network.enable');
    await cdp.send('Network.emulateNetworkConditions', { offline: false, latency: 150, downloadThroughput: 1.6e6 / 8, uploadThroughput: 750e3 / 8 });
    await cdp.send('Emulation.setCPUThrottlingRate', { rate: 4 });
    await watching(made, () => {
      // The field is there, and the page has had a turn since: what is typed arrives.
      const look = () => {
        if (!document.querySelector('input[autocomplete~="username"]')) return;
        seen.disconnect();
        requestAnimationFrame(() => setTimeout(() => (window.interactive = performance.now())));
      };
      const seen = new MutationObserver(look);
      seen.observe(document, { childList: true, subtree: true });
    });
    await made.goto(`${at}/signin`);
    took.push(await until('the field', () => made.evaluate(() => window.interactive)));
    await context.close();
  }
  kept('signin', took);
});

let context;
let made;

part('somebody at work', async () => {
  context = await browser({ more: { ignoreDefaultArgs: ['--disable-renderer-backgrounding'] } });
  made = await page(context);
  await signIn(made, 'wanda', { path: '/about' });
});

const screen = async (one) => (await one.locator('.xterm-rows').first().innerText()).replace(/\u00a0/g, ' ');

async function type(one, text) {
  await one.locator('.xterm-helper-textarea').first().focus();
  await one.keyboard.type(text);
  await one.keyboard.press('Enter');
}

async function terminal() {
  const one = await page(context);
  await watching(one, () => {
    const Socket = window.WebSocket;
    window.keys = { pressed: 0, took: [] };
    window.tasks = [];
    window.addEventListener('keydown', () => (window.keys.pressed = performance.now()), true);
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => window.tasks.push(entry.duration))).observe({ type: 'longtask', buffered: true });
    window.WebSocket = class extends Socket {
      constructor(...words) {
        super(...words);
        this.addEventListener('message', ({ data }) => {
          if (typeof data === 'string' || !window.keys.pressed) return;
          window.keys.took.push(performance.now() - window.keys.pressed);
          window.keys.pressed = 0;
        });
      }
    };
  });
  await one.goto(`${at}/terminal?to=${facts.me}@${facts.hosts.agent}`);
  await one.locator('.xterm').first().waitFor();
  await until('a prompt', async () => (await screen(one)).trim().length > 0);
  return one;
}

part('keys in the terminal, until their echo is there', async () => {
  const one = await terminal();
  await type(one, 'stty raw -echo; echo ready-$((40+2)); exec cat');
  await until('a terminal that echoes', async () => (await screen(one)).includes('ready-42'));
  await one.evaluate(() => (window.keys.took = []));
  for (let n = 1; n <= facts.keys; n += 1) {
    await one.keyboard.press('k');
    await until('an echo', () => one.evaluate((n) => window.keys.took.length >= n, n));
  }
  kept('echo', await one.evaluate(() => window.keys.took));
  await one.close({ runBeforeUnload: false });
});

part('a long text on the screen', async () => {
  const one = await terminal();
  await type(one, 'PS1=; stty -echo; echo ready-$((40+2))');
  await until('a shell', async () => (await screen(one)).includes('ready-42'));
  await one.evaluate(() => (window.tasks.length = 0));
  const began = Date.now();
  await type(one, `cat ${facts.text}; echo; echo done-$((50+5))`);
  await until('the end of it', async () => (await screen(one)).includes('done-55'), 600_000);
  figures.cat = { ms: Date.now() - began, longest: Math.max(0, ...(await one.evaluate(() => window.tasks))) };
  await one.close({ runBeforeUnload: false });
});

part('the first rows of the list of hosts', async () => {
  const took = [];
  // The first time brings the page's own files.
  for (let n = 0; n <= facts.times; n += 1) {
    await made.goto(`${at}/about`);
    const link = made.getByRole('link', { name: 'Hosts', exact: true }).first();
    await link.waitFor();
    await made.evaluate(() => {
      window.rows = new Promise((resolve) => {
        let began;
        const look = () => {
          if (began === undefined || !document.querySelector('main tbody tr code')) return;
          seen.disconnect();
          requestAnimationFrame(() => resolve(performance.now() - began));
        };
        const seen = new MutationObserver(look);
        seen.observe(document, { childList: true, subtree: true });
        window.addEventListener('click', () => (began = performance.now()), { capture: true, once: true });
      });
    });
    await link.click();
    const ms = await made.evaluate(() => window.rows);
    if (n > 0) took.push(ms);
  }
  const all = await api(made, 'GET', '/v1/hosts?limit=1000');
  assert.equal(all.json.items.length, Math.min(1000, facts.count), 'the hosts are there');
  kept('hosts', took);
});

const HOURS = 8;

/**
 * The lines of a long session, as a node gives them: a burst of output every few seconds, a screen drawn anew now and then.
 * Its row is that of a session that ran; eight hours are not waited for.
 */
function lines(start) {
  const base64 = (text) => Buffer.from(text).toString('base64');
  const began = new Date(start.started).getTime();
  const out = [JSON.stringify({ start: { ...start, ended: new Date(began + HOURS * 3_600_000).toISOString() } })];
  const event = (at, what) => out.push(JSON.stringify({ event: { at_ms: at, wall_ms: began + at, what } }));
  event(0, { resize: { cols: 120, rows: 40 } });
  let seed = 7;
  const random = () => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
  for (let at = 0; at < HOURS * 3_600_000; at += 200 + Math.floor(random() * 1600)) {
    const second = Math.floor(at / 1000);
    const more = random() < 0.02 ? `\u001b[2J\u001b[H${'=== top ===\r\n'.repeat(30)}` : '';
    event(at, { output: base64(`${more}\u001b[3${1 + (second % 6)}mat-${second}\u001b[0m ${'word '.repeat(Math.floor(random() * 14))}\r\n`) });
  }
  event(HOURS * 3_600_000, { output: base64('last-words\r\n') });
  out.push(JSON.stringify({ end: { complete: true, text: 'the recording is complete' } }));
  return `${out.join('\n')}\n`;
}

/** Memory that is a process's own, of the renderer that has most of it, in bytes. */
function renderers() {
  const own = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=renderer')) continue;
      own.push(Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024);
    } catch {
      // It ended meanwhile.
    }
  }
  return Math.max(...own);
}

part('a recording of eight hours', async () => {
  const id = await session(made, facts.hosts.agent, ['exit']);
  const row = await until('it to be complete', async () => {
    const found = (await api(made, 'GET', `/v1/recordings/${id}`)).json?.recording;
    return found?.completeness === 'complete' && found;
  });
  const body = lines(row);
  await context.close();
  const fresh = await browser();
  const player = await page(fresh);
  await signIn(player, 'wanda', { path: '/about' });
  const empty = renderers();
  await player.route(`**/v1/recordings/${id}/events`, (route) => route.fulfill({ status: 200, contentType: 'application/x-ndjson', body }));
  const opened = [];
  const whole = `${HOURS}:00:00`;
  for (let n = 0; n <= facts.opens; n += 1) {
    await player.goto(`${at}/recordings/${id}`);
    await until('all of it', async () => (await player.locator('.player-clock').innerText()).includes(whole));
    // From the navigation on, by the page's own clock.
    const ms = await player.evaluate(() => performance.now());
    if (n > 0) opened.push(ms);
  }
  kept('opens', opened);
  const took = await player.evaluate(async (times) => {
    const slider = document.querySelector('.timeline-input');
    const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
    const took = [];
    const shown = () => [...document.querySelector('.xterm-rows').innerText.replace(/\u00a0/g, ' ').matchAll(/at-(\d+)/g)].map((one) => Number(one[1])).at(-1);
    for (let n = 0; n < times; n += 1) {
      // Anywhere, forth and back.
      const second = Math.floor(((n * 7919) % 28_000) + 300);
      const began = performance.now();
      set.call(slider, String(second * 1000));
      slider.dispatchEvent(new Event('input', { bubbles: true }));
      await new Promise((resolve, reject) => {
        const look = () => {
          const there = shown();
          if (there !== undefined && there <= second && second - there < 5) return resolve();
          if (performance.now() - began > 20_000) return reject(new Error(`${second}: ${there}`));
          requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
      });
      took.push(performance.now() - began);
    }
    return took;
  }, facts.seeks);
  kept('seeks', took);
  const cdp = await fresh.newCDPSession(player);
  await cdp.send('Performance.enable');
  await cdp.send('HeapProfiler.collectGarbage');
  const { metrics } = await cdp.send('Performance.getMetrics');
  const heap = metrics.find((one) => one.name === 'JSHeapUsedSize').value;
  figures.memory = { heap: heap / 2 ** 20, grown: (renderers() - empty) / 2 ** 20, lines: body.length / 2 ** 20 };
});

part('what was found', async () => writeFileSync(process.env.PALISADE_FIGURES, JSON.stringify(figures)));
