import { useLocation } from 'wouter';
import { editPath, NEW, type EditedKind, type Section } from '../../admin/kinds';
import { useMay } from '../../app/session';
import { Button, IconPlus } from '../../ui';

/** Opens the editor with a new record. */
export function AddButton({ kind, section, label, look = 'primary' }: { kind: EditedKind; section: Section; label: string; look?: 'primary' | 'plain' }) {
  const forbidden = useMay(kind, 'create');
  const [, go] = useLocation();
  return <Button look={look} icon={<IconPlus />} forbidden={forbidden} onClick={() => go(editPath(section, NEW))}>{label}</Button>;
}
