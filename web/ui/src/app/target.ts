export type Target = { login: string; host: string; port?: number };

/** `login@host`, `login@host:22`, `login@[2001:db8::1]:22`, or undefined when it is not such a thing. */
export function parseTarget(text: string): Target | undefined {
  const match = /^([A-Za-z0-9_][A-Za-z0-9_.\\$-]{0,63})@(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?))(?::(\d{1,5}))?$/.exec(text.trim());
  if (!match) return undefined;
  const port = match[4] === undefined ? undefined : Number(match[4]);
  if (port !== undefined && (port < 1 || port > 65535)) return undefined;
  return { login: match[1]!, host: (match[2] ?? match[3])!, port };
}

/** What the node is asked for as the host: the name alone, or with its port. */
export function hostOf(target: Target): string {
  const name = target.host.includes(':') ? `[${target.host}]` : target.host;
  return target.port === undefined ? target.host : `${name}:${target.port}`;
}

/** The address of the page with a terminal. `to` may stand in it more than once: each is a tab. */
export function terminalUrl(login: string, host: string): string {
  return `/terminal?${new URLSearchParams({ to: `${login}@${host}` })}`;
}

export function openTerminal(login: string, host: string): void {
  window.open(terminalUrl(login, host), '_blank', 'noopener');
}
