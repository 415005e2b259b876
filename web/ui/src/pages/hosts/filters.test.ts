import { expect, test } from 'vitest';
import { hostQuery, labelsOf, withLabel } from './filters';

test('a chip means exactly that label', () => {
  expect(hostQuery(' web ', [], '')).toEqual({ search: 'web', query: undefined });
  expect(hostQuery('', ['env=prod'], '')).toEqual({ search: undefined, query: 'equals(resource.labels["env"], "prod")' });
  expect(hostQuery('', ['a=b=c', 'x=y"\\'], 'has_prefix(resource.name, "w") || true').query).toBe(
    'equals(resource.labels["a"], "b=c") && equals(resource.labels["x"], "y\\"\\\\") && (has_prefix(resource.name, "w") || true)',
  );
});

test('chips in the address', () => {
  const params = new URLSearchParams('q=web&label=env%3Dprod&label=env%3Dprod&label=rubbish');
  expect(labelsOf(params)).toEqual(['env=prod']);
  expect(withLabel(params, 'team=db', true)).toBe('?q=web&label=env%3Dprod&label=team%3Ddb');
  expect(withLabel(params, 'env=prod', false)).toBe('?q=web');
});
