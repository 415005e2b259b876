import { stringify } from 'yaml';
import { api, call, json, text, usePages, useQuery } from '../api';
import { ofKind, type ListedKind, type Shown } from './kinds';

const PAGE = 100;
const MOST = 1000;
const POLL_MS = 15_000;
const urlOf = (kind: string, name?: string) => `/v1/records/${kind}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;

const list = (kind: ListedKind, query: { after?: string; limit: number }, signal?: AbortSignal) => call(api.GET('/v1/records/{kind}', { params: { path: { kind }, query }, signal }));

/** The records of a kind, in pages; none are asked for where they may not be listed. */
export function useRecords<K extends ListedKind>(kind: K, forbidden: string | undefined) {
  return usePages<Shown<K>>(
    forbidden ? null : ['records', kind],
    async (after, signal) => {
      const page = await list(kind, { ...(after === undefined ? {} : { after }), limit: PAGE }, signal);
      return { items: ofKind(page.items, kind), next: page.next };
    },
    { poll: POLL_MS },
  );
}

/** Names of a kind, for completion; none where they may not be listed. */
export function useNames(kind: ListedKind | null): string[] {
  const { data } = useQuery(kind && ['names', kind], async (signal) => (kind ? (await list(kind, { limit: MOST }, signal)).items : []));
  return data?.map((record) => record.metadata.name) ?? [];
}

/** The YAML of a record. */
export async function readYaml(kind: string, name: string, signal?: AbortSignal): Promise<string> {
  const body = await text('GET', urlOf(kind, name), { accept: 'application/yaml', signal });
  // A node of an older version answers in JSON whatever is asked for.
  return body.trimStart().startsWith('{') ? stringify(JSON.parse(body), { lineWidth: 0 }) : body;
}

/** Whether there is such a record, without taking its absence for an error. */
export async function exists(kind: ListedKind, name: string, signal?: AbortSignal): Promise<boolean> {
  const page = await list(kind, { limit: MOST }, signal);
  return page.items.some((record) => record.metadata.name === name);
}

export const createYaml = (kind: string, body: string) => json('POST', urlOf(kind), { body, type: 'application/yaml' });
export const replaceYaml = (kind: string, name: string, body: string, upsert: boolean) => json('PUT', urlOf(kind, name), { body, type: 'application/yaml', query: upsert ? { upsert: true } : {} });
export const removeRecord = (kind: string, name: string, revision: number | undefined) => json('DELETE', urlOf(kind, name), { query: { revision } });
