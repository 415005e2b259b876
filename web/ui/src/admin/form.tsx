import { admin, fieldExamples, fieldLabels, formGroups, formNotes } from '../strings/admin';
import { SelectField, TextField } from '../ui';
import { edited, parse, valueAt } from './document';
import { ListField, ListMapField, MapField } from './fields';
import { formOf, type EditedKind } from './kinds';
import { fieldAt, recordSchema, type FieldSchema, type Path } from './schema';

type Props = { kind: EditedKind; text: string; onText: (text: string) => void; isNew: boolean; readOnly: boolean; offers: (path: string) => readonly string[] };

/** The common fields of a record. It reads the text and writes the text: there is nothing else behind it. */
export function RecordForm({ kind, text, onText, isNew, readOnly, offers }: Props) {
  const { doc } = parse(text);
  const root = recordSchema(kind);
  return (
    <div className="record-form">
      {formOf(kind, isNew).map(({ title, fields }) => (
        <fieldset key={title} className="form-group">
          <legend className="form-legend">{formGroups[title]}</legend>
          <div className="form-fields">
            {fields.map((path) => {
              const key = path.join('.');
              const field = fieldAt(root, path);
              return field && (
                <Control key={key} path={path} field={field} value={valueAt(doc, path)} readOnly={readOnly} offers={offers(key)} onValue={(value) => onText(edited(text, path, value))} />
              );
            })}
          </div>
        </fieldset>
      ))}
      {formNotes[kind] && <p className="small soft">{admin.field.moreYaml(formNotes[kind])}</p>}
    </div>
  );
}

type ControlProps = { path: Path; field: FieldSchema; value: unknown; onValue: (value: unknown) => void; readOnly: boolean; offers: readonly string[] };

/** What a field is called that has no name here yet. */
const sentenceCase = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1).replaceAll('_', ' ');
const texts = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : typeof value === 'string' ? [value] : []);
const isMap = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

function Control({ path, field, value, onValue, readOnly, offers }: ControlProps) {
  const key = path.join('.');
  const shared = { label: fieldLabels[key] ?? sentenceCase(String(path.at(-1))), hint: field.about, readOnly };
  const empty = { value: '', label: admin.field.default };
  switch (field.type) {
    case 'list':
      return <div className="form-wide"><ListField {...shared} value={texts(value)} onValue={onValue} offers={offers.length > 0 ? offers : (field.of?.values ?? [])} /></div>;
    case 'map':
      return (
        <div className="form-wide">
          {field.of?.type === 'list'
            ? <ListMapField {...shared} value={isMap(value) ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, texts(one)])) : {}} onValue={onValue} />
            : <MapField {...shared} value={isMap(value) ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, String(one ?? '')])) : {}} onValue={onValue} />}
        </div>
      );
    case 'flag':
      return (
        <SelectField
          label={shared.label} hint={shared.hint} disabled={readOnly} value={typeof value === 'boolean' ? String(value) : ''}
          choices={[empty, { value: 'true', label: admin.field.yes }, { value: 'false', label: admin.field.no }]}
          onChange={(event) => onValue(event.target.value === '' ? undefined : event.target.value === 'true')}
        />
      );
    case 'choice':
      return (
        <SelectField
          label={shared.label} hint={shared.hint} disabled={readOnly} value={typeof value === 'string' ? value : ''} choices={[empty, ...(field.values ?? []).map((one) => ({ value: one, label: one.replaceAll('_', ' ') }))]}
          onChange={(event) => onValue(event.target.value || undefined)}
        />
      );
    case 'number':
      return <TextField {...shared} inputMode="numeric" value={value === undefined || value === null ? '' : String(value)} onChange={(event) => onValue(/^\d+$/.test(event.target.value) ? Number(event.target.value) : undefined)} />;
    default:
      return (
        <TextField
          {...shared} value={value === undefined || value === null ? '' : String(value)} placeholder={fieldExamples[key]} autoComplete="off" autoCapitalize="none" spellCheck={false}
          mark={field.required ? undefined : 'optional'} onChange={(event) => onValue(event.target.value || (key === 'metadata.name' ? '' : undefined))}
        />
      );
  }
}
