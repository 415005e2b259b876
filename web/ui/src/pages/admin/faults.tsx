import { help } from '../../admin/complete';
import { placeOf, proposed } from '../../admin/lint';
import { admin } from '../../strings/admin';
import { Button, IconError, IconOk } from '../../ui';
import type { Lint } from './editing';

const words = admin.editor;

/** What is wrong with the text, each with its place and the way out. */
export function Faults({ text, lint, onText, onPlace }: { text: string; lint: Lint; onText: (text: string) => void; onPlace: (offset: number) => void }) {
  const { faults, pending, error } = lint;
  return (
    <div className="faults" role="status" data-pending={pending || undefined}>
      {error
        ? <p className="row small"><IconError className="fault-icon" /><span>{words.unchecked} {error.message}</span></p>
        : faults.length === 0
          ? <p className="row small soft">{pending ? <span className="fault-wait" aria-hidden="true" /> : <IconOk className="fault-ok" />}{pending ? words.checking : words.noFaults}</p>
          : (
            <ul className="stack-s">
              {faults.map((fault, i) => {
                const { from, to } = placeOf(text, fault);
                const name = proposed(fault.hint);
                return (
                  <li key={i} className="fault">
                    <IconError className="fault-icon" />
                    <span className="grow break">
                      <button type="button" className="link-button small" onClick={() => onPlace(from)}>{words.fault(fault.line, fault.column)}</button>
                      <span className="fault-text">{fault.message}</span>
                      {fault.hint && <span className="soft small fault-text">{fault.hint === name ? words.nearest(name) : fault.hint}</span>}
                    </span>
                    {name !== undefined && <Button size="small" onClick={() => onText(text.slice(0, from) + name + text.slice(to))}>{words.use(name)}</Button>}
                  </li>
                );
              })}
            </ul>
          )}
    </div>
  );
}

/** What the field is for that the cursor stands on. */
export function FieldHelp({ text, offset }: { text: string; offset: number }) {
  const found = help(text, offset);
  if (found === undefined) return <p className="field-about small faint">{words.helpNone}</p>;
  const { name, field } = found;
  const values = field.values ?? field.of?.values;
  return (
    <p className="field-about small">
      <code>{name}</code> <span className="faint">{words.type[field.type]}{field.required ? `, ${words.required}` : ''}</span>
      <span className="field-about-text">{field.about} {values ? words.oneOf(values.join(', ')) : ''}</span>
    </p>
  );
}
