// What the host list is asked for, from what the address says: text, label chips and an expression.

export type Label = { name: string; value: string };

export const labelText = ({ name, value }: Label) => `${name}=${value}`;

/** `label` may stand in the address more than once. */
export function labelsOf(params: URLSearchParams): string[] {
  return [...new Set(params.getAll('label').filter((one) => /^[^=\s]+=/.test(one)))];
}

export function withLabel(params: URLSearchParams, label: string, on: boolean): string {
  const next = new URLSearchParams(params);
  const labels = labelsOf(params).filter((one) => one !== label);
  next.delete('label');
  for (const one of on ? [...labels, label] : labels) next.append('label', one);
  const text = next.toString();
  return text ? `?${text}` : '';
}

const quoted = (text: string) => `"${text.replace(/[\\"]/g, '\\$&')}"`;

/**
 * One search and one expression for the server. A chip means exactly that label, which a word of the search would not:
 * `env=prod` would also find `env=production`. So chips become part of the expression.
 */
export function hostQuery(text: string, labels: string[], expression: string): { search?: string; query?: string } {
  const parts = labels.map((label) => {
    const at = label.indexOf('=');
    return `equals(resource.labels[${quoted(label.slice(0, at))}], ${quoted(label.slice(at + 1))})`;
  });
  if (expression.trim()) parts.push(parts.length ? `(${expression.trim()})` : expression.trim());
  return { search: text.trim() || undefined, query: parts.join(' && ') || undefined };
}
