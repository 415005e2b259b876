import { useCallback, useEffect, useRef, useState } from 'react';
import { asApiError, isAbort, urlOf } from '../../api';
import { useSession } from '../../app/session';
import { baseName, transfer, uploadPath } from '../../terminal/transfer';
import type { Progress } from '../../terminal/transfer';
import type { Wish } from '../../terminal/frames';

export type Transfer = {
  id: number;
  way: 'up' | 'down';
  name: string;
  path: string;
  file?: File;
  state: 'moving' | 'done' | 'cancelled' | 'failed';
  progress: Progress;
  error?: string;
};

export type Transfers = {
  list: Transfer[];
  upload: (files: File[], into: string) => void;
  download: (path: string) => void;
  cancel: (id: number) => void;
  again: (id: number) => void;
  remove: (id: number) => void;
};

/** Files on their way to and from one host. They go on while the dialog is closed. */
export function useTransfers({ host, login }: Wish): Transfers {
  const { csrf } = useSession();
  const [list, setList] = useState<Transfer[]>([]);
  const controls = useRef(new Map<number, AbortController>());
  const last = useRef(0);
  const edit = useCallback((id: number, change: Partial<Transfer>) => setList((all) => all.map((one) => (one.id === id ? { ...one, ...change } : one))), []);
  useEffect(() => {
    const all = controls.current;
    return () => all.forEach((control) => control.abort());
  }, []);

  const run = useCallback(async (job: Transfer) => {
    const control = new AbortController();
    controls.current.set(job.id, control);
    const url = urlOf(`/v1/hosts/${encodeURIComponent(host)}/file`, { login, path: job.path });
    try {
      const blob = await transfer({
        method: job.way === 'up' ? 'PUT' : 'GET', url, csrf, body: job.file, signal: control.signal,
        onProgress: (progress) => edit(job.id, { progress }),
      });
      if (job.way === 'down') save(blob, job.name);
      const size = job.file?.size ?? blob.size;
      edit(job.id, { state: 'done', progress: { done: size, total: size } });
    } catch (error) {
      edit(job.id, isAbort(error) ? { state: 'cancelled' } : { state: 'failed', error: asApiError(error).message });
    }
    controls.current.delete(job.id);
  }, [host, login, csrf, edit]);

  const add = useCallback((job: Pick<Transfer, 'way' | 'name' | 'path' | 'file'>) => {
    last.current += 1;
    const whole: Transfer = { ...job, id: last.current, state: 'moving', progress: { done: 0, total: job.file?.size ?? null } };
    setList((all) => [whole, ...all]);
    void run(whole);
  }, [run]);

  return {
    list,
    upload: (files, into) => files.forEach((file) => add({ way: 'up', name: file.name, path: uploadPath(into, file.name), file })),
    download: (path) => add({ way: 'down', name: baseName(path), path: path.trim() }),
    cancel: (id) => controls.current.get(id)?.abort(),
    again: (id) => {
      const job = list.find((one) => one.id === id);
      if (!job) return;
      const fresh: Transfer = { ...job, state: 'moving', error: undefined, progress: { done: 0, total: job.file?.size ?? null } };
      edit(id, fresh);
      void run(fresh);
    },
    remove: (id) => setList((all) => all.filter((one) => one.id !== id)),
  };
}

function save(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
