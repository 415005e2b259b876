import { stringify } from 'yaml';
import { api, call, json, text, usePages, useQuery } from '../api';
import type { ListedKind, Shown } from './kinds';

const PAGE = '100';
const POLL_MS = 15_000;
const urlOf = (kind: string, name?: string) => `/v1/records/${kind}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;

export function useRecords<S>(kind: ListedKind | null) {
  return usePages<Shown<S>>(
    kind && ['records', kind],
    async (after, signal) => {
      const page = await call(api.GET('/v1/records/{kind}', { params: { path: { kind: kind ?? '' }, query: { after, limit: PAGE } }, signal }));
      return { items: page.items as unknown as Shown<S>[], next: page.next };
    },
    { poll: POLL_MS },
  );
}

/** Names of a kind, for completion; none where they may not be listed. */
export function useNames(kind: ListedKind | null): string[] {
  const { data } = useQuery(kind && ['names', kind], (signal) => call(api.GET('/v1/records/{kind}', { params: { path: { kind: kind ?? '' }, query: { limit: '1000' } }, signal })));
  return (data?.items as unknown as Shown[] | undefined)?.map((record) => record.metadata.name) ?? [];
}

/** The YAML of a record. */
export async function readYaml(kind: string, name: string, signal?: AbortSignal): Promise<string> {
  const body = await text('GET', urlOf(kind, name), { accept: 'application/yaml', signal });
  // A node of an older version answers in JSON whatever is asked for.
  return body.trimStart().startsWith('{') ? stringify(JSON.parse(body), { lineWidth: 0 }) : body;
}

/** Whether there is such a record, without taking its absence for an error. */
export async function exists(kind: string, name: string, signal?: AbortSignal): Promise<boolean> {
  const page = await call(api.GET('/v1/records/{kind}', { params: { path: { kind }, query: { limit: '1000' } }, signal }));
  return (page.items as unknown as Shown[]).some((record) => record.metadata.name === name);
}

export const createYaml = (kind: string, body: string) => json('POST', urlOf(kind), { body, type: 'application/yaml' });
export const replaceYaml = (kind: string, name: string, body: string, upsert: boolean) => json('PUT', urlOf(kind, name), { body, type: 'application/yaml', query: upsert ? { upsert: true } : {} });
export const removeRecord = (kind: string, name: string, revision: number | undefined) => json('DELETE', urlOf(kind, name), { query: { revision } });
