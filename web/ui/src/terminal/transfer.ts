import { ApiError, errorOf } from '../api/error';
import { errors } from '../strings/app';

export type Progress = { done: number; total: number | null };

type Job = { method: 'GET' | 'PUT'; url: string; csrf: string; body?: Blob; onProgress: (progress: Progress) => void; signal: AbortSignal };

/** Moves one file. XMLHttpRequest, because fetch does not tell how much of a body has been sent. */
export function transfer({ method, url, csrf, body, onProgress, signal }: Job): Promise<Blob> {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open(method, url);
    xhr.responseType = 'blob';
    if (method === 'PUT') {
      xhr.setRequestHeader('x-palisade-csrf', csrf);
      xhr.setRequestHeader('content-type', 'application/octet-stream');
    }
    const tell = (event: ProgressEvent) => onProgress({ done: event.loaded, total: event.lengthComputable ? event.total : null });
    (method === 'PUT' ? xhr.upload : xhr).onprogress = tell;
    xhr.onload = () => {
      const blob = xhr.response as Blob;
      if (xhr.status >= 200 && xhr.status < 300) return resolve(blob);
      blob.text().then(
        (text) => reject(errorOf(xhr.status, parse(text), errors.status(xhr.status))),
        () => reject(new ApiError(xhr.status, 'unknown', errors.status(xhr.status))),
      );
    };
    xhr.onerror = () => reject(new ApiError(0, 'unreachable', errors.unreachable));
    xhr.onabort = () => reject(new DOMException('cancelled', 'AbortError'));
    signal.addEventListener('abort', () => xhr.abort());
    xhr.send(body ?? null);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The last part of a path, as the name of what is saved. */
export function baseName(path: string): string {
  return path.split('/').filter(Boolean).at(-1) ?? 'file';
}

/** Where an upload goes: a path that ends with a slash is a folder, an empty one is the home folder. */
export function uploadPath(asked: string, name: string): string {
  const path = asked.trim();
  if (!path || path === '.' || path === '~' || path === '~/') return name;
  const rest = path.startsWith('~/') ? path.slice(2) : path;
  return rest.endsWith('/') ? rest + name : rest;
}
