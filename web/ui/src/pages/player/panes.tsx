import { useEffect, useState } from 'react';
import { bytes } from '../../lib/format';
import type { Playback } from '../../player/playback';
import { player as words } from '../../strings/player';
import { Empty, IconFile } from '../../ui';
import { useView } from './recording';

const MOST = 256 * 1024;
type Texts = Awaited<ReturnType<Playback['engine']['texts']>>;

/** Control characters as pictures: a command's output is text here, and does nothing. */
export function visible(text: string): string {
   
  return text.replace(/\r\n/g, '\n').replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (c) => {
    const code = c.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? '\u2421' : '\ufffd';
  });
}

/** What a command without a terminal read and wrote, up to the moment. */
export function Panes({ playback, version }: { playback: Playback; version: number }) {
  const { shown } = useView(playback);
  const [texts, set] = useState<Texts>();
  useEffect(() => {
    let gone = false;
    void playback.engine.texts(shown, MOST).then((found) => !gone && set(found));
    return () => {
      gone = true;
    };
  }, [playback, shown, version]);
  if (!playback.engine.hasOutput) return <Empty icon={<IconFile size={32} />} title={words.noScreen}>{words.noScreenHelp}</Empty>;
  return (
    <div className="panes">
      {(['input', 'output', 'error_output'] as const).map((kind) => {
        const { text, cut } = texts?.[kind] ?? { text: '', cut: 0 };
        if (kind !== 'output' && text === '') return null;
        return (
          <section key={kind} className="pane">
            <h2 className="pane-title">{words.panes[kind]}</h2>
            {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard */}
            <pre className={`pane-text pane-${kind}`} tabIndex={0} role="region" aria-label={words.panes[kind]}>{text === '' ? <span className="pane-none">{words.paneEmpty}</span> : visible(text)}</pre>
            {cut > 0 && <p className="small soft">{words.paneCut(bytes(cut))}</p>}
          </section>
        );
      })}
    </div>
  );
}
