// Markdown as a tree of plain data, from which the page makes React elements: no HTML text on the way, so nothing that a
// documentation file could contain is ever markup.
import MarkdownIt from 'markdown-it';

type Token = ReturnType<MarkdownIt['parse']>[number];

export type HelpNode =
  | string
  | { tag: 'p' | 'ul' | 'li' | 'strong' | 'em' | 'blockquote' | 'thead' | 'tbody' | 'tr' | 'table' | 'td' | 'th'; kids: HelpNode[] }
  | { tag: 'ol'; start?: number; kids: HelpNode[] }
  | { tag: 'heading'; level: number; id: string; kids: HelpNode[] }
  | { tag: 'link'; href: string; kids: HelpNode[] }
  | { tag: 'code'; text: string }
  | { tag: 'pre'; text: string; lang: string }
  | { tag: 'br' | 'hr' };

const markdown = new MarkdownIt({ html: false, linkify: false, typographer: false });

export function slug(text: string): string {
  return text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '');
}

export function textOf(nodes: readonly HelpNode[]): string {
  return nodes
    .map((node) => (typeof node === 'string' ? node : 'text' in node ? node.text : 'kids' in node ? textOf(node.kids) + (['p', 'li', 'td', 'th', 'heading'].includes(node.tag) ? ' ' : '') : ' '))
    .join('');
}

const PLAIN: Record<string, string> = {
  paragraph: 'p', bullet_list: 'ul', list_item: 'li', strong: 'strong', em: 'em', blockquote: 'blockquote',
  thead: 'thead', tbody: 'tbody', tr: 'tr', table: 'table', td: 'td', th: 'th',
};

/** @param resolve where a link leads on the pages; none leaves its text alone. */
export function toTree(source: string, resolve: (href: string) => string | undefined): HelpNode[] {
  const used = new Map<string, number>();
  const idOf = (text: string) => {
    const id = slug(text);
    const n = used.get(id) ?? 0;
    used.set(id, n + 1);
    return n === 0 ? id : `${id}-${n}`;
  };

  function build(tokens: Token[]): HelpNode[] {
    const root: HelpNode[] = [];
    const stack: { kids: HelpNode[]; close: (kids: HelpNode[]) => HelpNode[] }[] = [];
    const put = (...nodes: HelpNode[]) => {
      const into = stack.at(-1)?.kids ?? root;
      for (const node of nodes) {
        const last = into.at(-1);
        if (typeof node === 'string' && typeof last === 'string') into[into.length - 1] = last + node;
        else if (node !== '') into.push(node);
      }
    };
    for (const token of tokens) {
      const name = token.type.replace(/_(open|close)$/, '');
      if (token.nesting === 1) {
        stack.push({ kids: [], close: closing(name, token) });
      } else if (token.nesting === -1) {
        const done = stack.pop();
        if (done) put(...done.close(done.kids));
      } else if (token.type === 'inline') {
        put(...build(token.children ?? []));
      } else {
        const leaf = leafOf(token);
        if (leaf !== undefined) put(leaf);
      }
    }
    return root;
  }

  function closing(name: string, token: Token): (kids: HelpNode[]) => HelpNode[] {
    if (name === 'heading') return (kids) => [{ tag: 'heading', level: Number(token.tag.slice(1)), id: idOf(textOf(kids)), kids }];
    if (name === 'ordered_list') return (kids) => [{ tag: 'ol', start: Number(token.attrGet('start') ?? 1), kids }];
    if (name === 'link') {
      const href = resolve(token.attrGet('href') ?? '');
      return (kids) => (href === undefined ? kids : [{ tag: 'link', href, kids }]);
    }
    // In tight lists the paragraphs are there, and hidden.
    if (name === 'paragraph' && token.hidden) return (kids) => kids;
    const tag = PLAIN[name];
    return (kids) => (tag === undefined ? kids : [{ tag, kids } as HelpNode]);
  }

  function leafOf(token: Token): HelpNode | undefined {
    switch (token.type) {
      case 'text':
      case 'html_block':
      case 'html_inline':
        return token.content;
      case 'softbreak':
        return ' ';
      case 'hardbreak':
        return { tag: 'br' };
      case 'hr':
        return { tag: 'hr' };
      case 'code_inline':
        return { tag: 'code', text: token.content };
      case 'fence':
      case 'code_block':
        return { tag: 'pre', text: token.content.replace(/\n$/, ''), lang: token.info.trim() };
      default:
        return undefined;
    }
  }

  return build(markdown.parse(source, {}));
}
