import { describe, expect, test } from 'vitest';
import { ctrl, phoneKey, shortcut } from './keys';
import { asks, safeLink } from './osc';
import { safePaste } from './paste';
import { places } from './places';
import { changeTabs, fromSearch, parseWish, toSearch, wishName } from './tabs';
import { baseName, uploadPath } from './transfer';

describe('pasting', () => {
  test.each([
    ['plain', 'plain'],
    ['a\r\nb\rc\td', 'a\nb\nc\td'],
    ['x\u001b[201~rm -rf /\n', 'xrm -rf /\n'],
    ['x\u009b201~y', 'xy'],
    ['\u001b[20\u001b[201~1~y', 'y'],
    ['\u001b[\u001b[200~201~y', 'y'],
    ['\u0000\u0003\u0007\u001b\u007f\u009dz', 'z'],
    ['grüße, 日本 🙂', 'grüße, 日本 🙂'],
  ])('%j becomes %j', (text, clean) => expect(safePaste(text)).toBe(clean));

  test('nothing that begins a sequence is left of anything', () => {
    const pieces = ['\u001b', '[', '20', '1~', '0~', '\u009b', 'a', '\n'];
    for (let n = 0; n < 8 ** 5; n += 7) {
      const text = Array.from({ length: 5 }, (_, at) => pieces[Math.floor(n / 8 ** at) % 8]).join('');
       
      expect(safePaste(text)).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
    }
  });
});

test('keys of the phone row', () => {
  expect(ctrl('c')).toBe('\u0003');
  expect(ctrl('[')).toBe('\u001b');
  expect(ctrl(' ')).toBe('\u0000');
  expect(ctrl('ü')).toBe('ü');
  expect(ctrl('ls')).toBe('ls');
  expect(phoneKey('up', false)).toBe('\u001b[A');
  expect(phoneKey('left', true)).toBe('\u001bOD');
  expect(phoneKey('|', true)).toBe('|');
});

test('keys that the page takes', () => {
  const none = { altKey: false, ctrlKey: false, metaKey: false, shiftKey: false, key: '', code: '' };
  expect(shortcut({ ...none, altKey: true, code: 'Digit3', key: '3' })).toEqual({ do: 'tab', n: 3 });
  expect(shortcut({ ...none, altKey: true, code: 'KeyF' })).toBeUndefined();
  expect(shortcut({ ...none, ctrlKey: true, code: 'KeyC' })).toBeUndefined();
  expect(shortcut({ ...none, ctrlKey: true, shiftKey: true, code: 'KeyC' })).toEqual({ do: 'copy' });
});

test('what asks for an answer', () => {
  expect(asks('?')).toBe(true);
  expect(asks('4;?')).toBe(true);
  expect(asks('1;rgb:00/00/00')).toBe(false);
});

test('links lead to the web alone', () => {
  expect(safeLink('https://example.com/a')).toBe('https://example.com/a');
  for (const bad of ['javascript:alert(1)', 'file:///etc/passwd', 'data:text/html,x', 'https://user:pw@example.com', 'nonsense', '//x']) {
    expect(safeLink(bad)).toBeUndefined();
  }
});

test('nodes to try', () => {
  expect(places('https://n1:3080', ['https://n1:3080', 'https://n2:3080/', 'rubbish', 'ftp://n3', 'https://n2:3080'], 'one')).toEqual([
    { url: 'wss://n1:3080/v1/terminal', name: 'one', own: true },
    { url: 'wss://n2:3080/v1/terminal', name: 'n2:3080', own: false },
  ]);
});

describe('tabs', () => {
  test('the address says what is open', () => {
    for (const search of ['', '?to=alice@web1', '?to=alice@web1&to=bob@db1,bob@db2&tab=2', '?to=~observer~abc-1']) {
      expect(toSearch(fromSearch(search))).toBe(search);
    }
    expect(toSearch(fromSearch('?to=<script>&tab=99'))).toBe('');
  });

  test('wishes', () => {
    expect(parseWish('alice@10.0.0.1:2222')).toEqual({ login: 'alice', host: '10.0.0.1:2222', session: '' });
    expect(parseWish('~peer~S1')).toEqual({ login: '', host: '', session: 'S1', mode: 'peer' });
    for (const bad of ['~boss~x', '~peer~', '~peer~a b', 'alice@web1~peer~x', '~']) expect(parseWish(bad)).toBeNull();
    expect(parseWish('alice')).toBeNull();
  });

  test('other pages lead to live sessions', () => {
    let joined = fromSearch('?session=S1&mode=observer');
    const pane = joined.tabs[0]!.panes[0]!;
    expect(pane.wish).toEqual({ login: '', host: '', session: 'S1', mode: 'observer' });
    expect(toSearch(joined)).toBe('?to=~observer~S1');
    joined = changeTabs(joined, { is: 'session', pane: pane.id, session: 'S1', host: 'web1', login: '' });
    expect(wishName(joined.tabs[0]!.panes[0]!.wish!)).toBe('web1');
    const own = fromSearch('?session=S2').tabs[0]!.panes[0]!.wish!;
    expect(own).toEqual({ login: '', host: '', session: 'S2' });
    expect(fromSearch('?session=<x>').tabs[0]!.panes[0]!.wish).toBeNull();
  });

  test('exit leads back to the picker, closing the last tab to an empty one', () => {
    let state = fromSearch('?to=alice@web1');
    const pane = state.tabs[0]!.panes[0]!.id;
    state = changeTabs(state, { is: 'ended', pane, note: { tone: 'plain', text: 'over' } });
    expect(state.tabs[0]!.panes[0]).toEqual({ id: pane, wish: null, note: { tone: 'plain', text: 'over' } });
    state = changeTabs(state, { is: 'close', tab: state.active });
    expect(state.tabs).toHaveLength(1);
    expect(state.tabs[0]!.panes[0]!.wish).toBeNull();
  });

  test('Alt and a digit', () => {
    const state = fromSearch('?to=a@x&to=a@y&to=a@z');
    const at = (n: number) => state.tabs.findIndex((tab) => tab.id === changeTabs(state, { is: 'number', n }).active);
    expect([1, 2, 3, 4, 9].map(at)).toEqual([0, 1, 2, 0, 2]);
  });

  test('closing the one that is shown shows its neighbour; a split loses one pane', () => {
    let state = fromSearch('?to=a@x&to=a@y,a@z&tab=2');
    const tab = state.tabs[1]!;
    state = changeTabs(state, { is: 'close-pane', pane: tab.panes[0]!.id });
    expect(toSearch(state)).toBe('?to=a@x&to=a@z&tab=2');
    state = changeTabs(state, { is: 'close', tab: tab.id });
    expect(toSearch(state)).toBe('?to=a@x');
  });

  test('ids are never used twice', () => {
    let state = fromSearch('?to=a@x');
    for (let n = 0; n < 6; n += 1) state = changeTabs(changeTabs(state, { is: 'new' }), { is: 'split', tab: state.active });
    const ids = state.tabs.flatMap((tab) => [tab.id, ...tab.panes.map((pane) => pane.id)]);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

test('where files go', () => {
  expect(uploadPath('', 'a.txt')).toBe('a.txt');
  expect(uploadPath('/tmp/', 'a.txt')).toBe('/tmp/a.txt');
  expect(uploadPath('/tmp/b.txt', 'a.txt')).toBe('/tmp/b.txt');
  expect(uploadPath('~/in/', 'a.txt')).toBe('in/a.txt');
  expect(baseName('/var/log/syslog')).toBe('syslog');
  expect(baseName('/')).toBe('file');
});
