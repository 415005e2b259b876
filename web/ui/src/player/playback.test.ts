import { Terminal } from '@xterm/headless';
import { describe, expect, it } from 'vitest';
import { Engine } from './engine';
import type { Played } from './events';
import { Playback } from './playback';
import { onlyDraws, rowsOf, type Term } from './screen';
import { Store, type Packer } from './store';

const packer: Packer = { pack: (block) => Promise.resolve(block.slice()), unpack: (block) => Promise.resolve(block) };
const make = (): Term => {
  const term = new Terminal({ cols: 20, rows: 3, scrollback: 0, allowProposedApi: true, logLevel: 'off' }) as unknown as Term;
  onlyDraws(term);
  return term;
};
const out = (at: number, text: string): Played => ({ at, wall: at, what: { kind: 'output', bytes: new TextEncoder().encode(text) } });

function set(events: Played[]) {
  const engine = new Engine(make, new Store(packer));
  for (const event of events) engine.push(event);
  const term = make();
  return { engine, term, playback: new Playback(engine, term) };
}
const first = async (playback: Playback, term: Term) => {
  await playback.drawn();
  return rowsOf(term)[0];
};

describe('playback', () => {
  it('shows what has happened by now, and stops at the end', async () => {
    const { playback, term } = set([out(0, 'a'), out(500, 'b'), out(1000, 'c')]);
    playback.open = false;
    playback.play();
    playback.tick(10_000);
    playback.tick(10_600);
    expect(await first(playback, term)).toBe('ab');
    expect(playback.view()).toMatchObject({ at: 600, playing: true });
    playback.tick(11_100);
    expect(await first(playback, term)).toBe('abc');
    expect(playback.view()).toMatchObject({ at: 1000, playing: false });
    playback.play();
    expect(playback.view().at).toBe(0);
  });

  it('waits at the end of what has come, and goes on', async () => {
    const { playback, engine, term } = set([out(0, 'a'), out(100, 'b')]);
    playback.follow();
    playback.tick(0);
    playback.tick(50);
    expect(playback.view()).toMatchObject({ waiting: true, playing: true });
    engine.push(out(200, 'c'));
    playback.tick(200);
    playback.tick(320);
    expect(await first(playback, term)).toBe('abc');
  });

  it('goes to any moment, and from output to output', async () => {
    const { playback, term } = set([out(0, 'a'), out(100, 'b'), out(200, 'c')]);
    playback.seek(150);
    expect(await first(playback, term)).toBe('ab');
    playback.frame(1);
    expect(await first(playback, term)).toBe('abc');
    playback.frame(-1);
    playback.frame(-1);
    expect(await first(playback, term)).toBe('a');
    playback.seek(-5);
    expect(playback.view().at).toBe(0);
    playback.seek(1e9);
    expect(await first(playback, term)).toBe('abc');
  });

  it('says which pause it skipped, and never runs away after a long absence', () => {
    const { playback } = set([out(0, 'a'), out(60_000, 'b'), out(70_000, 'c')]);
    playback.play();
    playback.tick(0);
    playback.tick(900);
    playback.tick(1800);
    expect(playback.view().skipped?.ms).toBe(58_500);
    expect(playback.view().at).toBe(59_500 + 800);
    playback.setSkip(false);
    playback.seek(0);
    playback.tick(1_000_000);
    expect(playback.view().at).toBe(1000);
  });

  it('plays as fast as it is told', () => {
    const { playback } = set([out(0, 'a'), out(2000, 'b'), out(4000, 'c')]);
    playback.setSpeed(4);
    playback.play();
    playback.tick(0);
    playback.tick(250);
    expect(playback.view().at).toBe(1000);
  });
});
