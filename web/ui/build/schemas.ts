// What the editor of records knows of their fields, cut out of the API's document when the front end is built: names,
// types, the words that are allowed, and the sentences that describe them.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';

export interface FieldSchema {
  type: 'text' | 'number' | 'flag' | 'choice' | 'list' | 'map' | 'group';
  about: string;
  required?: boolean;
  values?: string[];
  fields?: Record<string, FieldSchema>;
  /** Of the entries of a list or map. */
  of?: FieldSchema;
}

interface Schema {
  type?: string | string[];
  description?: string;
  enum?: string[];
  $ref?: string;
  oneOf?: Schema[];
  required?: string[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
}
type Schemas = Record<string, Schema>;

/** The kinds that people write, and the schemas of their specs. */
const SPECS = {
  user: 'UserSpec',
  role: 'RoleSpec',
  lock: 'LockSpec',
  token: 'TokenSpec',
  host: 'HostSpec',
  cluster_auth_preference: 'AuthPreferenceSpec',
  session_recording_config: 'RecordingConfigSpec',
  cluster_maintenance_config: 'MaintenanceConfigSpec',
} as const;

// What stands in brackets and backquotes for readers of the code is for them alone.
const clean = (text: string | undefined) => (text ?? '').replace(/\[`?([^\]`]+)`?\]/g, '$1').replace(/`/g, '').replace(/\s+/g, ' ').trim();

function field(schema: Schema, all: Schemas, required: boolean): FieldSchema {
  const other = schema.oneOf?.find((one) => one.type !== 'null');
  const ref = schema.$ref?.split('/').at(-1);
  const base = other ?? (ref === undefined ? undefined : all[ref]);
  const about = clean(schema.description);
  const mark = required ? { required } : {};
  if (base !== undefined) {
    const inner = field(base, all, false);
    return { ...inner, about: about || inner.about, ...mark };
  }
  const type = Array.isArray(schema.type) ? schema.type.find((t) => t !== 'null') : schema.type;
  if (schema.enum) return { type: 'choice', about, values: schema.enum, ...mark };
  if (type === 'integer' || type === 'number') return { type: 'number', about, ...mark };
  if (type === 'boolean') return { type: 'flag', about, ...mark };
  if (type === 'array') return { type: 'list', about, of: field(schema.items ?? {}, all, false), ...mark };
  if (schema.properties) return { type: 'group', about, fields: fields(schema, all), ...mark };
  if (typeof schema.additionalProperties === 'object') return { type: 'map', about, of: field(schema.additionalProperties, all, false), ...mark };
  return { type: 'text', about, ...mark };
}

function fields(schema: Schema, all: Schemas): Record<string, FieldSchema> {
  return Object.fromEntries(
    Object.entries(schema.properties ?? {}).map(([name, one]) => [name, field(one, all, schema.required?.includes(name) ?? false)]),
  );
}

export function recordSchemas(document: { components: { schemas: Schemas } }): Record<string, Record<string, FieldSchema>> {
  const all = document.components.schemas;
  const metadata = field({ $ref: '#/components/schemas/Metadata' }, all, true);
  return Object.fromEntries(
    Object.entries(SPECS).map(([kind, spec]) => [
      kind,
      {
        kind: { type: 'choice', about: clean(all.Kind?.description), values: Object.keys(SPECS), required: true },
        version: { type: 'choice', about: clean(all.Version?.description), values: all.Version?.enum ?? [] },
        metadata,
        spec: field({ $ref: `#/components/schemas/${spec}` }, all, true),
      } satisfies Record<string, FieldSchema>,
    ]),
  );
}

const NAME = 'virtual:record-schemas';

/** `import schemas from 'virtual:record-schemas'`. */
export function schemas(): Plugin {
  const file = fileURLToPath(new URL('../../openapi.json', import.meta.url));
  return {
    name: 'palisade-schemas',
    resolveId: (id) => (id === NAME ? `\0${NAME}` : undefined),
    load(id) {
      if (id !== `\0${NAME}`) return undefined;
      this.addWatchFile(file);
      return `export default ${JSON.stringify(recordSchemas(JSON.parse(readFileSync(file, 'utf8'))))}`;
    },
  };
}
