// Sessions: seen while they run, ended, and played.

import { api, assert, browser, facts, page, part, session, shot, signIn, until } from './lib.mjs';

let context;
let made;
let id;

part('a session is listed while it runs, and ended with a word to whoever sits there', async () => {
  context = await browser();
  made = await page(context);
  await signIn(made, 'alice', { path: '/sessions' });
  await made.getByText('Nobody is logged in to a host').waitFor();
  const runs = page(context).then(async (other) => {
    await other.goto(`${facts.nodes[0].url}/about`);
    return session(other, 'web1', ['sleep 600']);
  });
  const end = made.getByRole('button', { name: new RegExp(`^End alice as ${facts.me}@web1`) });
  await end.waitFor();
  await shot(made, 'sessions-live');
  await end.click();
  const dialog = made.getByRole('dialog').or(made.getByRole('alertdialog'));
  await dialog.getByText('End this session?').waitFor();
  await dialog.getByRole('button', { name: 'End', exact: true }).click();
  assert.ok(await runs, 'the session ended');
  await made.getByText('Nobody is logged in to a host').waitFor();
  const ended = await api(made, 'GET', '/v1/audit/events?event=session.terminated');
  assert.ok(ended.json.items.some((item) => item.event.message.includes('alice')), ended.text);
});

part('a recording plays to the screen that was seen, at the time it was seen', async () => {
  id = await session(made, 'web1', ['PS1=; stty -echo', 'echo first-$((1+1))', 'sleep 1.2; clear; echo second-$((2+2))', 'exit']);
  await until('the recording to be complete', async () => {
    const row = await api(made, 'GET', `/v1/recordings/${id}`);
    return row.json?.recording.completeness === 'complete';
  });
  await made.goto(`${facts.nodes[0].url}/recordings/${id}`);
  await made.locator('.xterm').first().waitFor();
  const rows = made.locator('.xterm-rows').first();
  const shows = (text) => until(`"${text}" on the screen`, async () => (await rows.innerText()).replace(/\u00a0/g, ' ').includes(text));
  await made.locator('body').press('End');
  await shows('second-4');
  assert.ok(!(await rows.innerText()).includes('first-2'), 'the screen was cleared');
  await shot(made, 'player');
  await made.locator('body').press('Home');
  await until('the beginning', async () => !(await rows.innerText()).includes('second-4'));
  // To a second, by its address: between the two lines.
  await made.goto(`${facts.nodes[0].url}/recordings/${id}?t=1`);
  await made.locator('.xterm').first().waitFor();
  await shows('first-2');
  const played = await api(made, 'GET', `/v1/audit/events?event=session.play&text=${id}`);
  assert.ok(played.json.items.length >= 1, played.text);
});

part('what was written is found, and the recording is given out as an asciicast', async () => {
  await made.getByRole('tab', { name: 'Search' }).click();
  await made.getByLabel('Search in this recording').fill('first-2');
  await made.getByText(/1 place|places/).first().waitFor();
  const cast = await api(made, 'GET', `/v1/recordings/${id}/asciicast`);
  assert.equal(cast.status, 200);
  assert.equal(JSON.parse(cast.text.split('\n')[0]).version, 2);
});

part('recordings are narrowed in the address, and a text is found inside them, at its second', async () => {
  await made.goto(`${facts.nodes[0].url}/sessions?user=nobody`);
  await made.getByText('No recording fits').waitFor();
  await made.getByRole('searchbox', { name: 'User', exact: true }).fill('alice');
  await until('the address', () => new URL(made.url()).searchParams.get('user') === 'alice');
  await made.getByRole('link', { name: /^Play alice as/ }).first().waitFor();
  await made.getByRole('button', { name: 'Search inside' }).click();
  await made.getByLabel('Text that was on a screen').fill('SECOND-4');
  await made.getByRole('button', { name: 'Search', exact: true }).click();
  await made.getByText('1 place found').waitFor();
  await shot(made, 'sessions-inside');
  await made.locator('.session-hit').click();
  await made.locator('.xterm').first().waitFor();
  const rows = made.locator('.xterm-rows').first();
  await until('the screen of that moment', async () => (await rows.innerText()).replace(/\u00a0/g, ' ').includes('second-4'));
  assert.equal(new URL(made.url()).searchParams.get('q'), 'second-4');
  const audited = await api(made, 'GET', '/v1/audit/events?event=recording.search');
  assert.equal(audited.json.items[0].event.data.query, 'SECOND-4');
  assert.equal(audited.json.items[0].event.data.sessions, id);
  // It goes on within a recording: from its second chunk on, what stands in the first is not found again.
  const row = (await api(made, 'GET', `/v1/recordings/${id}`)).json.recording;
  assert.ok(row.chunks > 1, `${row.chunks} chunks`);
  const rest = async (text, chunk) => (await api(made, 'GET', `/v1/recordings/search?q=${text}&after=${Date.parse(row.started)}.${id}.${chunk}`)).json;
  const found = (answer) => answer.items.filter((hit) => hit.session === id).length;
  assert.deepEqual([found(await rest('first-2', 0)), found(await rest('first-2', 1)), found(await rest('second-4', 1))], [1, 0, 1]);
});

part('a link shows the recording to somebody without a login, masked, until it is revoked', async () => {
  const policy = 'kind: session_recording_config\nmetadata: {name: session-recording-config}\nspec:\n  redact: [{name: digit, pattern: "second-[0-9]"}]\n';
  const put = await made.evaluate(async (body) => {
    const { csrf } = await (await fetch('/v1/web/session')).json();
    const path = '/v1/records/session_recording_config/session-recording-config?upsert=true';
    return (await fetch(path, { method: 'PUT', headers: { 'x-palisade-csrf': csrf, 'content-type': 'application/yaml' }, body })).status;
  }, policy);
  assert.equal(put, 200);
  await made.goto(`${facts.nodes[0].url}/recordings/${id}`);
  await made.getByRole('button', { name: 'Share', exact: true }).click();
  const dialog = made.getByRole('dialog');
  await dialog.getByText('There are none.').waitFor();
  await dialog.getByLabel('For whom, or what for').fill('the auditor');
  await dialog.getByRole('button', { name: 'Create link' }).click();
  const url = new URL(await dialog.locator('.secret code').innerText());
  assert.equal(url.pathname, '/shared');
  assert.match(url.hash, /^#[\w-]{43}$/);
  await dialog.getByText('Never opened').waitFor();
  await shot(made, 'recording-share');
  // Somebody else's browser, and no login: what it asks of the node holds no secret.
  const stranger = await browser();
  const seen = await page(stranger);
  const asked = [];
  seen.on('request', (request) => asked.push(request.url().split('#')[0]));
  await seen.goto(url.href);
  await seen.getByText('Shared by alice').waitFor();
  await seen.getByText('the auditor').waitFor();
  await seen.locator('.xterm').first().waitFor();
  await seen.locator('body').press('End');
  const rows = seen.locator('.xterm-rows').first();
  await until('the masked end', async () => (await rows.innerText()).includes('********'));
  assert.ok(!(await rows.innerText()).includes('second-4'), 'it is masked');
  await seen.getByRole('tab', { name: 'About' }).click();
  await seen.getByText('Parts of this copy are masked').waitFor();
  await shot(seen, 'shared');
  assert.ok(asked.every((one) => !one.includes(url.hash.slice(1))), asked.join('\n'));
  const complaints = seen.complaints.filter((one) => !/status of 401/.test(one));
  assert.deepEqual(complaints, []);
  // Whoever plays it inside sees it as it was.
  const inside = await api(made, 'GET', `/v1/recordings/${id}/events`);
  assert.ok(!inside.text.includes('"masked"'));
  await made.reload();
  await made.getByRole('button', { name: 'Share', exact: true }).click();
  await dialog.getByText(/^Opened/).waitFor();
  assert.ok(!(await dialog.innerText()).includes(url.hash.slice(1)), 'the secret is shown once');
  await dialog.getByRole('button', { name: 'Revoke the link the auditor' }).click();
  await dialog.getByText('There are none.').waitFor();
  await seen.reload();
  await seen.getByText('This link opens nothing').waitFor();
  await shot(seen, 'shared-gone');
  for (const event of ['recording.share', 'recording.share.open', 'recording.share.revoke']) {
    const log = await api(made, 'GET', `/v1/audit/events?event=${event}`);
    assert.ok(log.json.items.some((item) => item.event.event === event), log.text);
  }
});

part('who may not see recordings is told so, and sees none', async () => {
  const other = await browser();
  const bobs = await page(other);
  await signIn(bobs, 'bob', { path: '/sessions' });
  const list = await api(bobs, 'GET', '/v1/recordings');
  assert.equal(list.status, 403);
  assert.equal((await api(bobs, 'GET', `/v1/recordings/${id}/events`)).status, 403);
  assert.equal((await api(bobs, 'GET', '/v1/recordings/search?q=first')).status, 403);
  assert.equal((await api(bobs, 'GET', `/v1/recordings/${id}/shares`)).status, 403);
  await bobs.goto(`${facts.nodes[0].url}/recordings/${id}`);
  await until('a reason', async () => /none of your roles allows/.test(await bobs.locator('body').innerText()));
  await shot(bobs, 'recording-refused');
});
