import type { Place } from './machine';

/** The nodes to try, the one that the page came from first. Addresses that are none are left out. */
export function places(origin: string, addrs: string[], ownName: string): Place[] {
  const own = new URL(origin);
  const list: Place[] = [place(own, ownName, true)];
  for (const addr of addrs) {
    let url: URL;
    try {
      url = new URL(addr);
    } catch {
      continue;
    }
    if (!/^https?:$/.test(url.protocol) || list.some((known) => known.url === place(url, '', false).url)) continue;
    list.push(place(url, url.host, false));
  }
  return list;
}

function place(url: URL, name: string, own: boolean): Place {
  return { url: `${url.protocol === 'http:' ? 'ws' : 'wss'}://${url.host}/v1/terminal`, name, own };
}
