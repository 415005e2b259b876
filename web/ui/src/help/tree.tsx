import type { ReactNode } from 'react';
import { Link } from 'wouter';
import type { HelpNode } from '../../build/markdown';

import { help as words } from '../strings/help';
import { Code, CopyButton } from '../ui';

/** The documentation's tree as elements. Texts stay texts. */
export function Tree({ nodes }: { nodes: readonly HelpNode[] }) {
  return <>{nodes.map((node, i) => <Node key={i} node={node} />)}</>;
}

function Node({ node }: { node: HelpNode }): ReactNode {
  if (typeof node === 'string') return node;
  switch (node.tag) {
    case 'heading':
      return <Heading level={node.level} id={node.id} kids={node.kids} />;
    case 'link':
      return <HelpLink href={node.href}><Tree nodes={node.kids} /></HelpLink>;
    case 'code':
      return <code>{node.text}</code>;
    case 'pre':
      return <Code text={node.text} label={node.text.split('\n', 1)[0] || words.code} actions={<CopyButton text={node.text} />} />;
    case 'br':
      return <br />;
    case 'hr':
      return <hr />;
    case 'ol':
      return <ol start={node.start}><Tree nodes={node.kids} /></ol>;
    case 'table':
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
      return <div className="help-table" tabIndex={0} role="group" aria-label={words.table}><table><Tree nodes={node.kids} /></table></div>;
    case 'th':
      // The corner of a table of names and values is no heading.
      if (node.kids.length === 0) return <td />;
      return <th scope="col"><Tree nodes={node.kids} /></th>;
    default: {
      const Tag = node.tag;
      return <Tag><Tree nodes={node.kids} /></Tag>;
    }
  }
}

function Heading({ level, id, kids }: { level: number; id: string; kids: HelpNode[] }) {
  // The page's own heading is the first; those of the text come below it.
  if (level === 1) return null;
  const Tag = (level === 2 ? 'h2' : level === 3 ? 'h3' : 'h4') as 'h2';
  return <Tag id={id} tabIndex={-1}><a className="help-anchor" href={`#${id}`}><Tree nodes={kids} /></a></Tag>;
}

function HelpLink({ href, children }: { href: string; children: ReactNode }) {
  if (href.startsWith('/')) return <Link href={href}>{children}</Link>;
  if (href.startsWith('#')) return <a href={href}>{children}</a>;
  return <a href={href} target="_blank" rel="noopener noreferrer">{children}</a>;
}

