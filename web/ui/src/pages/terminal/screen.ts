// The screen: xterm with what keeps it in its place.
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { Terminal } from '@xterm/xterm';
import type { ITheme } from '@xterm/xterm';
import { harden, safeLink } from '../../terminal/osc';
import { safePaste } from '../../terminal/paste';

export type Screen = { term: Terminal; fit: FitAddon; search: SearchAddon; paste: (text: string) => void; write: (bytes: Uint8Array, replayed: boolean, done: () => void) => void; clear: () => void; dispose: () => void };

export type ScreenOptions = { fontSize: number; theme: ITheme; label: string; readOnly: boolean };

export function makeScreen(box: HTMLElement, { fontSize, theme, label, readOnly }: ScreenOptions): Screen {
  const term = new Terminal({
    fontSize,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue('--mono').trim() || 'monospace',
    theme,
    scrollback: 10_000,
    cursorBlink: false,
    disableStdin: readOnly,
    macOptionIsMeta: true,
    rightClickSelectsWord: false,
    windowOptions: {},
    linkHandler: {
      activate: (_event, text) => {
        const link = safeLink(text);
        if (link) window.open(link, '_blank', 'noopener,noreferrer');
      },
      allowNonHttpProtocols: false,
    },
  });
  let replaying = false;
  harden(term, () => replaying);
  const fit = new FitAddon();
  const search = new SearchAddon();
  term.loadAddon(fit);
  term.loadAddon(search);
  term.open(box);
  term.textarea?.setAttribute('aria-label', label);
  fit.fit();

  const paste = (text: string) => {
    if (!readOnly) term.paste(safePaste(text));
  };
  // Before xterm's own handler: what is pasted is cleaned first.
  const onPaste = (event: ClipboardEvent) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    paste(event.clipboardData?.getData('text/plain') ?? '');
  };
  box.addEventListener('paste', onPaste, true);

  const watch = new ResizeObserver(() => {
    if (box.clientWidth > 0 && box.clientHeight > 0) fit.fit();
  });
  watch.observe(box);
  void accelerate(term);

  return {
    term, fit, search, paste,
    write: (bytes, replayed, done) => {
      // In turn with what waits to be parsed: an empty text is there for what it calls.
      if (replayed) term.write('', () => (replaying = true));
      term.write(bytes, done);
      if (replayed) term.write('', () => (replaying = false));
    },
    // As a part of the output, after what waits to be parsed, and with everything that output may have set.
    clear: () => term.write('\u001bc'),
    dispose: () => {
      watch.disconnect();
      box.removeEventListener('paste', onPaste, true);
      term.dispose();
    },
  };
}

/** Whether a graphics card draws. One that is only played by the processor is slower than no card at all. */
function hasCard(): boolean {
  const gl = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true });
  if (!gl) return false;
  const info = gl.getExtension('WEBGL_debug_renderer_info');
  const name = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return !/swiftshader|llvmpipe|software|basic render/i.test(name);
}

/** Drawing by the graphics card, where there is one; without it xterm draws by itself. */
async function accelerate(term: Terminal): Promise<void> {
  if (!hasCard()) return;
  try {
    const { WebglAddon } = await import('@xterm/addon-webgl');
    const addon = new WebglAddon();
    addon.onContextLoss(() => addon.dispose());
    term.loadAddon(addon);
  } catch {
    // There is none.
  }
}
