// Recovery codes, shown once.
import { codes as strings } from '../strings/account';
import { CopyButton, Note } from '../ui';
import './codes.css';

export function CodeList({ codes }: { codes: string[] }) {
  return (
    <div className="stack">
      <Note tone="warn">{strings.keep}</Note>
      <ol className="codes" aria-label={strings.title}>
        {codes.map((code) => <li key={code}><code>{code}</code></li>)}
      </ol>
      <div className="row-wrap small soft"><CopyButton text={codes.join('\n')} label={strings.copy} />{strings.copy}</div>
    </div>
  );
}
