import { usePref } from '../../lib/prefs';
import { terminal as strings } from '../../strings/terminal';
import { Button, Checkbox, copyText, IconButton, IconCopy, IconPolicy, Popover, Segments } from '../../ui';
import { toast } from '../../app/toasts';
import type { Handle } from './handles';

export const fontSizes = { least: 8, usual: 14, most: 32 };

export function Settings({ handle }: { handle: Handle | undefined }) {
  const [size, setSize] = usePref('fontSize');
  const [theme, setTheme] = usePref('terminalTheme');
  const [reader, setReader] = usePref('screenReader');
  const paste = () => void navigator.clipboard.readText().then((text) => handle?.screen.paste(text), () => toast(strings.pasteFailed, 'bad'));
  const copy = () => void copyText(handle?.screen.term.getSelection() ?? '').then((done) => done && toast(strings.copied));
  return (
    <Popover label={strings.settings} trigger={<IconButton size="small" icon={<IconPolicy />} label={strings.settings} />}>
      <div className="term-settings">
        <div className="row">
          <span className="grow">{strings.fontSize}</span>
          <Button size="small" aria-label={strings.smaller} disabled={size <= fontSizes.least} onClick={() => setSize(size - 1)}>−</Button>
          <span className="term-size">{size}</span>
          <Button size="small" aria-label={strings.larger} disabled={size >= fontSizes.most} onClick={() => setSize(size + 1)}>+</Button>
        </div>
        <div className="stack-s">
          <span>{strings.theme}</span>
          <Segments label={strings.theme} value={theme} onValue={setTheme} choices={(['page', 'dark', 'light', 'contrast'] as const).map((value) => ({ value, label: strings.themes[value] }))} />
        </div>
        <div className="row">
          <Button size="small" icon={<IconCopy />} disabled={!handle} onClick={copy}>{strings.copy}</Button>
          <Button size="small" disabled={!handle} onClick={paste}>{strings.paste}</Button>
        </div>
        <Checkbox label={strings.screenReader} hint={strings.screenReaderHint} checked={reader} onChange={(event) => setReader(event.target.checked)} />
        <div className="stack-s">
          <span className="soft small">{strings.shortcuts}</span>
          <dl className="term-keys">{strings.shortcutList.map(([keys, what]) => <div key={keys}><dt><kbd>{keys}</kbd></dt><dd>{what}</dd></div>)}</dl>
        </div>
      </div>
    </Popover>
  );
}
