import { describe, expect, it } from 'vitest';
import { marksOf, pathOf } from './track';

describe('the timeline', () => {
  it('is thick between pauses', () => {
    expect(pathOf([{ from: 100, to: 300 }], 1000)).toBe('M0 0h100v10h-100zM300 0h700v10h-700z');
    expect(pathOf([{ from: 100, to: 101 }], 1000)).toBe('M0 0h1000v10h-1000z');
    expect(pathOf([], 0)).toBe('');
  });
  it('bears each mark once', () => expect(marksOf([0, 0, 500, 1000], 1000)).toBe('M0 0v10M500 0v10M999 0v10'));
});
