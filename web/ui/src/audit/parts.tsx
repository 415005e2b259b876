import { IconCluster, IconFile, IconHost, IconKey, IconNodes, IconPlay, IconRecord, IconTerminal, IconUser, type IconProps } from '../ui';
import { IconArrows, IconCertificate, IconEnd, IconMail, IconRefused, IconSignature, IconUsers } from '../ui/icons-more';
import type { ReactElement } from 'react';
import { isWarning, kinds, type KindIcon } from './kinds';
import { isKnown, type AuditItem, type Piece } from './sentence';
import './parts.css';

const icons: Record<KindIcon, (props: IconProps) => ReactElement> = {
  cluster: IconCluster, node: IconNodes, person: IconUser, key: IconKey, certificate: IconCertificate, record: IconRecord, terminal: IconTerminal,
  play: IconPlay, users: IconUsers, file: IconFile, arrows: IconArrows, host: IconHost, refused: IconRefused, signature: IconSignature, mail: IconMail, end: IconEnd,
};

/** The icon of an event. What it means stands beside it in words. */
export function EventIcon({ item }: { item: AuditItem }) {
  const name: string = item.event.event;
  const Icon = icons[isKnown(name) ? kinds[name] : 'record'];
  return <span className={`event-icon${isWarning(item.code) ? ' event-icon-warning' : ''}`}><Icon /></span>;
}

/** A sentence, its names a little stronger than its words. */
export function Pieces({ pieces }: { pieces: readonly Piece[] }) {
  return <>{pieces.map((piece, i) => (piece.field === undefined || piece.field === 'message' ? piece.text : <b key={i} className="piece">{piece.text}</b>))}</>;
}
