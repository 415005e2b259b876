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

part('who may not see recordings is told so, and sees none', async () => {
  const other = await browser();
  const bobs = await page(other);
  await signIn(bobs, 'bob', { path: '/sessions' });
  const list = await api(bobs, 'GET', '/v1/recordings');
  assert.equal(list.status, 403);
  assert.equal((await api(bobs, 'GET', `/v1/recordings/${id}/events`)).status, 403);
  await bobs.goto(`${facts.nodes[0].url}/recordings/${id}`);
  await until('a reason', async () => /none of your roles allows/.test(await bobs.locator('body').innerText()));
  await shot(bobs, 'recording-refused');
});
