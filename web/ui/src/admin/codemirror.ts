import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, type CompletionContext, type CompletionResult } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { yaml } from '@codemirror/lang-yaml';
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from '@codemirror/language';
import { lintGutter, setDiagnostics, type Diagnostic } from '@codemirror/lint';
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search';
import { Compartment, EditorState, type Extension } from '@codemirror/state';
import { drawSelection, EditorView, highlightActiveLine, hoverTooltip, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import type { LintFault } from '../api/names';
import { complete, help } from './complete';
import { placeOf, proposed } from './lint';

export interface Hooks {
  onText: (text: string) => void;
  onCursor: (offset: number) => void;
  names: (path: string) => readonly string[];
  useProposal: (name: string) => string;
}

// The colours are the page's own, so that both themes hold.
const look = EditorView.theme({
  '&': { backgroundColor: 'var(--bg-raised)', color: 'var(--text)', fontSize: 'var(--t-sm)', height: '100%' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '20px' },
  '.cm-content': { padding: '8px 0', caretColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--bg-sunk)', color: 'var(--text-faint)', border: '0', borderRight: '1px solid var(--line)' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'transparent' },
  '&.cm-focused .cm-activeLine': { backgroundColor: 'color-mix(in srgb, var(--bg-hover) 60%, transparent)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'var(--accent-line)' },
  '.cm-tooltip': { backgroundColor: 'var(--bg-raised)', border: '1px solid var(--line-strong)', borderRadius: 'var(--radius)', boxShadow: 'var(--shadow)', color: 'var(--text)' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)', maxHeight: '240px' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '3px 8px' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
  '.cm-completionInfo': { padding: '8px', maxWidth: '320px', fontFamily: 'var(--font)' },
  '.cm-diagnostic-error': { borderLeftColor: 'var(--bad)' },
  '.cm-panels': { backgroundColor: 'var(--bg-sunk)', color: 'var(--text)' },
  '.cm-about': { padding: '8px', maxWidth: '360px', fontFamily: 'var(--font)', fontSize: 'var(--t-xs)' },
});

const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--accent-text)' },
  { tag: [tags.string, tags.attributeValue], color: 'var(--text)' },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword], color: 'var(--ok)' },
  { tag: tags.comment, color: 'var(--text-faint)', fontStyle: 'italic' },
  { tag: [tags.punctuation, tags.separator, tags.squareBracket, tags.brace], color: 'var(--text-soft)' },
  { tag: tags.invalid, color: 'var(--bad)' },
]);

function source(names: Hooks['names']) {
  return (context: CompletionContext): CompletionResult | null => {
    const text = context.state.doc.toString();
    const { from, offers } = complete(text, context.pos, names);
    if (offers.length === 0 || (!context.explicit && from === context.pos && !/[:-]\s$/.test(text.slice(Math.max(0, context.pos - 2), context.pos)))) return null;
    return {
      from,
      options: offers.map((offer) => ({ label: offer.label, apply: offer.insert, type: 'property', info: offer.about || undefined, boost: offer.required ? 1 : 0 })),
      validFor: /^[\w*.-]*$/,
    };
  };
}

const about = hoverTooltip((view, pos) => {
  const found = help(view.state.doc.toString(), pos);
  if (found === undefined) return null;
  return {
    pos,
    create: () => {
      const dom = document.createElement('div');
      dom.className = 'cm-about';
      dom.textContent = found.field.about;
      return { dom };
    },
  };
});

/** An editor of YAML in a place of the page. */
export class YamlView {
  readonly #view: EditorView;
  readonly #hooks: () => Hooks;
  readonly #fixed = new Compartment();
  #quiet = false;

  constructor(parent: HTMLElement, text: string, label: string, readOnly: boolean, hooks: () => Hooks) {
    this.#hooks = hooks;
    const listen = EditorView.updateListener.of((update) => {
      if (update.docChanged && !this.#quiet) this.#hooks().onText(update.state.doc.toString());
      if (update.selectionSet || update.docChanged) this.#hooks().onCursor(update.state.selection.main.head);
    });
    const extensions: Extension[] = [
      lineNumbers(), history(), drawSelection(), highlightActiveLine(), highlightSelectionMatches(), indentOnInput(), bracketMatching(), closeBrackets(),
      yaml(), indentUnit.of('  '), syntaxHighlighting(colours), look, lintGutter(), about,
      autocompletion({ override: [source((path) => this.#hooks().names(path))], icons: false, aboveCursor: false }),
      // Tab leaves the text, as everywhere on the page.
      keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...completionKeymap]),
      EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'false', autocapitalize: 'off', autocorrect: 'off' }),
      EditorView.lineWrapping,
      this.#fixed.of(this.#access(readOnly)),
      listen,
    ];
    this.#view = new EditorView({ parent, state: EditorState.create({ doc: text, extensions }) });
  }

  #access(readOnly: boolean): Extension {
    return [EditorState.readOnly.of(readOnly), EditorView.editable.of(!readOnly)];
  }

  /** Puts another text in, changing only what differs, so that the cursor stays. */
  setText(text: string): void {
    const old = this.#view.state.doc.toString();
    if (old === text) return;
    let from = 0;
    while (from < old.length && from < text.length && old[from] === text[from]) from++;
    let end = 0;
    while (end < old.length - from && end < text.length - from && old[old.length - 1 - end] === text[text.length - 1 - end]) end++;
    this.#quiet = true;
    this.#view.dispatch({ changes: { from, to: old.length - end, insert: text.slice(from, text.length - end) } });
    this.#quiet = false;
  }

  setReadOnly(readOnly: boolean): void {
    this.#view.dispatch({ effects: this.#fixed.reconfigure(this.#access(readOnly)) });
  }

  setFaults(faults: readonly LintFault[]): void {
    const text = this.#view.state.doc.toString();
    const diagnostics = faults.map((fault): Diagnostic => {
      const { from, to } = placeOf(text, fault);
      const name = proposed(fault.hint);
      const actions = name === undefined ? [] : [{ name: this.#hooks().useProposal(name), apply: (view: EditorView, a: number, b: number) => view.dispatch({ changes: { from: a, to: b, insert: name } }) }];
      return { from, to, severity: 'error', message: [fault.message, fault.hint].filter(Boolean).join('\n'), actions };
    });
    this.#view.dispatch(setDiagnostics(this.#view.state, diagnostics));
  }

  /** Puts the cursor at a place, and the place in sight. */
  goTo(offset: number): void {
    const anchor = Math.min(offset, this.#view.state.doc.length);
    this.#view.dispatch({ selection: { anchor }, scrollIntoView: true });
    this.#view.focus();
  }

  destroy(): void {
    this.#view.destroy();
  }
}
