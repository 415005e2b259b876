import schemas from 'virtual:record-schemas';
import type { FieldSchema } from '../../build/schemas';

export type { FieldSchema };
export type Path = readonly (string | number)[];

export const knownKinds: readonly string[] = Object.keys(schemas);

/** The fields of a whole record of a kind; those of any record when the kind is not known (yet). */
export function recordSchema(kind: string): FieldSchema {
  const fields = schemas[kind] ?? { ...schemas.role, spec: { type: 'group', about: '', fields: {} } satisfies FieldSchema };
  return { type: 'group', about: '', fields };
}

/** What the schema says of a path; the places of lists and the keys of maps are stepped over. */
export function fieldAt(root: FieldSchema, path: Path): FieldSchema | undefined {
  let at: FieldSchema | undefined = root;
  for (const step of path) {
    if (at === undefined) return undefined;
    if (at.type === 'list' || at.type === 'map') at = at.of;
    else at = typeof step === 'string' ? at.fields?.[step] : undefined;
  }
  return at;
}
