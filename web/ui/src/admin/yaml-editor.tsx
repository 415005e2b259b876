import { useEffect, useRef } from 'react';
import type { LintFault } from '../api';
import { admin } from '../strings/admin';
import { YamlView } from './codemirror';

export type EditorProps = {
  text: string;
  onText: (text: string) => void;
  onCursor: (offset: number) => void;
  faults: readonly LintFault[];
  names: (path: string) => readonly string[];
  readOnly: boolean;
  label: string;
  /** A place to go to: another one each time. */
  place: { offset: number } | undefined;
};

/** The YAML of a record. Loaded only where somebody edits. */
export default function YamlEditor(props: EditorProps) {
  const box = useRef<HTMLDivElement>(null);
  const view = useRef<YamlView>(undefined);
  const latest = useRef(props);
  latest.current = props;
  const { text, faults, readOnly, label, place } = props;

  useEffect(() => {
    if (box.current === null) return;
    const made = new YamlView(box.current, latest.current.text, label, latest.current.readOnly, () => ({ ...latest.current, useProposal: admin.editor.use }));
    view.current = made;
    return () => made.destroy();
  }, [label]);
  useEffect(() => view.current?.setText(text), [text]);
  useEffect(() => view.current?.setReadOnly(readOnly), [readOnly]);
  useEffect(() => view.current?.setFaults(faults), [faults, text]);
  useEffect(() => {
    if (place) view.current?.goTo(place.offset);
  }, [place]);
  return <div className="yaml-editor" ref={box} />;
}
