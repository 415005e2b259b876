// The development server speaks HTTPS, since a browser takes a `__Host-` cookie from nothing else, and hands
// /v1 (web sockets too) to a running node, which it names in the Origin header as if the page had come from there.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ServerOptions } from 'vite';

function certificate(): { key: Buffer; cert: Buffer } {
  const base = process.env.PALISADE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'palisade');
  const folder = join(base, 'ui-dev');
  const key = join(folder, 'key.pem');
  const cert = join(folder, 'cert.pem');
  if (!existsSync(cert)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    execFileSync('openssl', [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '365',
      '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert,
    ], { stdio: 'ignore' });
  }
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

export function devServer(node: string): ServerOptions {
  return {
    https: certificate(),
    port: 5173,
    strictPort: true,
    proxy: {
      '/v1': { target: node, changeOrigin: true, secure: false, ws: true, headers: { origin: new URL(node).origin } },
    },
  };
}
