// What others write into names, labels, reasons and recordings stays text; other sites get nowhere.

import { createServer } from 'node:http';
import { api, assert, browser, facts, page, part, session, signIn, until } from './lib.mjs';

const node = facts.nodes[0];
const marks = [
  '<script>window.hit=1</script>', '"><img src=x onerror=window.hit=1>', "';window.hit=1//", '{{constructor.constructor("window.hit=1")()}}',
  'javascript:window.hit=1', '</title><svg onload=window.hit=1>', '\u202Egnp.exe',
];
let context;
let made;

const hit = () => made.evaluate(() => window.hit);

part('labels, reasons and descriptions are text on every page that shows them', async () => {
  context = await browser();
  made = await page(context);
  await signIn(made, 'alice');
  for (const [n, mark] of marks.entries()) {
    const host = { kind: 'host', metadata: { name: `h${n}`, description: mark, labels: { note: mark } }, spec: { addr: '127.0.0.1:1' } };
    const lock = { kind: 'lock', metadata: { name: `l${n}` }, spec: { target: { login: `nobody${n}` }, message: mark } };
    for (const record of [host, lock]) await api(made, 'POST', `/v1/records/${record.kind}`, record);
  }
  const shown = await api(made, 'GET', '/v1/hosts');
  assert.ok(shown.text.includes('onerror'), 'the corpus is there');
  for (const path of ['/hosts', '/admin/hosts', '/admin/hosts/h1', '/admin/locks', '/audit', '/cluster', '/clusters']) {
    await made.goto(node.url + path);
    await until('the page', async () => (await made.locator('body').innerText()).trim().length > 40);
    await made.waitForLoadState('networkidle', { timeout: 5000 }).catch(() => {});
    assert.equal(await hit(), undefined, path);
  }
});

part('a recording only draws', async () => {
  const id = await session(made, 'web1', [
    'printf "\\033]0;%s\\a" "<img src=x onerror=window.hit=1>"',
    'printf "\\033]52;c;aGl0\\a\\033[6n\\033[c\\033]8;;javascript:window.hit=1\\033\\\\link\\033]8;;\\033\\\\"',
    'echo "<script>window.hit=1</script>"; echo drawn-$((3+3))',
    'exit',
  ]);
  await made.goto(`${node.url}/recordings/${id}`);
  await made.locator('.xterm').first().waitFor();
  await made.locator('body').press('End');
  await until('the end', async () => (await made.locator('.xterm-rows').first().innerText()).includes('drawn-6'));
  assert.equal(await hit(), undefined);
  assert.ok(!(await made.title()).includes('img'));
  assert.equal(await made.locator('.xterm a[href^="javascript"]').count(), 0);
});

part('the policy lets nothing else run, load or frame', async () => {
  const answer = await made.goto(`${node.url}/hosts`);
  const policy = answer.headers()['content-security-policy'];
  for (const wanted of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"]) {
    assert.ok(policy.includes(wanted), policy);
  }
  assert.ok(!/script-src[^;]*unsafe/.test(policy), policy);
  const ran = await made.evaluate(async () => {
    const inline = document.createElement('script');
    try {
      inline.text = 'window.hit = 1';
      document.body.append(inline);
    } catch {}
    try {
      document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.hit=1">');
    } catch {}
    // Later, because what a test evaluates at once is let through by the browser's own tools.
    try {
      setTimeout('window.hit = 1', 10);
    } catch {}
    await new Promise((resolve) => setTimeout(resolve, 200));
    return window.hit;
  });
  assert.equal(ran, undefined);
});

part('a page of another site reads, changes, opens and frames nothing', async () => {
  const server = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end('<!doctype html><title>other</title>'));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const other = await page(context);
    await other.goto(`http://localhost:${server.address().port}/`);
    const got = await other.evaluate(async (url) => {
      const tried = {};
      for (const [name, options] of Object.entries({
        read: {}, post: { method: 'POST', body: '{}' }, blind: { method: 'POST', mode: 'no-cors', body: '{}' },
      })) {
        tried[name] = await fetch(`${url}/v1/web/logout`, { credentials: 'include', ...options }).then((a) => `${a.type} ${a.status}`, () => 'refused');
      }
      tried.socket = await new Promise((resolve) => {
        const socket = new WebSocket(`${url.replace('https', 'wss')}/v1/terminal`);
        socket.onopen = () => resolve('open');
        socket.onerror = () => resolve('refused');
      });
      tried.frame = await new Promise((resolve) => {
        const frame = document.createElement('iframe');
        frame.src = `${url}/hosts`;
        frame.onload = () => {
          try {
            resolve(frame.contentDocument ? 'blank' : 'refused');
          } catch {
            resolve('refused');
          }
        };
        document.body.append(frame);
      });
      return tried;
    }, node.url);
    assert.equal(got.read, 'refused');
    assert.equal(got.post, 'refused');
    assert.equal(got.socket, 'refused');
    assert.equal(got.blind, 'refused');
    assert.equal(other.frames().filter((frame) => frame.url().startsWith(node.url)).length, 0, 'nothing was framed');
    assert.equal((await api(made, 'GET', '/v1/web/session')).status, 200, 'still logged in');
  } finally {
    server.close();
  }
});

part('a link that leads elsewhere after signing in does not', async () => {
  for (const to of ['//evil.example/', 'https://evil.example/', '/\\evil.example', 'javascript:window.hit=1']) {
    await made.goto(`${node.url}/signin?to=${encodeURIComponent(to)}`);
    await made.waitForURL((url) => url.pathname !== '/signin');
    assert.equal(new URL(made.url()).origin, new URL(node.url).origin, to);
  }
  assert.equal(await hit(), undefined);
});

part('a session that was set before the login is not the one after it', async () => {
  const other = await browser();
  const bobs = await page(other);
  await other.addCookies([{ name: '__Host-palisade', value: `${'0'.repeat(32)}.chosen`, url: node.url, secure: true, httpOnly: true, sameSite: 'Strict' }]);
  await signIn(bobs, 'bob');
  const [cookie] = (await other.cookies()).filter((one) => one.name === '__Host-palisade');
  assert.ok(!cookie.value.startsWith('0'.repeat(32)), cookie.value);
});
