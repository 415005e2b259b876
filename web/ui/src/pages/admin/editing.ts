import { useEffect, useState } from 'react';
import { asApiError, isAbort, json, type ApiError, type LintFault, type LintReply, type RoleExplain } from '../../api';
import { exists, readYaml } from '../../admin/api';
import { isPolicy, template, type EditedKind } from '../../admin/kinds';

const TYPING_MS = 400;

export interface Base {
  /** The text as it is on the nodes. */
  text: string;
  /** There is no such record yet: saving makes it. */
  absent: boolean;
}

/** The text that one begins with. */
export async function readBase(kind: EditedKind, name: string, isNew: boolean, signal?: AbortSignal): Promise<Base> {
  if (isNew) return { text: template(kind), absent: true };
  // A policy that nobody has written holds by its defaults.
  if (isPolicy(kind) && !(await exists(kind, name, signal))) return { text: template(kind), absent: true };
  return { text: await readYaml(kind, name, signal), absent: false };
}

export interface Asked<T> {
  /** The text that was asked about. */
  of: string;
  reply: T | undefined;
  error: ApiError | undefined;
}

/** Asks the node about a text, once one has stopped typing. What it said last stays until it says something newer. */
function useAsked<T>(path: string, text: string | undefined): Asked<T> | undefined {
  const [asked, set] = useState<Asked<T>>();
  useEffect(() => {
    if (text === undefined) return;
    const control = new AbortController();
    const timer = setTimeout(() => {
      json<T>('POST', path, { body: { text }, signal: control.signal }).then(
        (reply) => set({ of: text, reply, error: undefined }),
        (error: unknown) => {
          if (!isAbort(error)) set({ of: text, reply: undefined, error: asApiError(error) });
        },
      );
    }, TYPING_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [path, text]);
  return asked;
}

export interface Lint {
  faults: readonly LintFault[];
  /** Nothing is known of this very text yet. */
  pending: boolean;
  error: ApiError | undefined;
}

/** What is wrong with a text, by the rules of the node. */
export function useLint(text: string | undefined): Lint {
  const asked = useAsked<LintReply>('/v1/lint', text);
  return { faults: asked?.reply?.faults ?? [], pending: asked?.of !== text, error: asked?.of === text ? asked?.error : undefined };
}

/** Who reaches what by a role as it is written. Not asked about a text with faults. */
export function useExplain(text: string | undefined): Asked<RoleExplain> | undefined {
  return useAsked<RoleExplain>('/v1/roles/explain', text);
}

/** Asks before the window closes over what was not saved. */
export function useUnsaved(dirty: boolean): void {
  useEffect(() => {
    if (!dirty) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', ask);
    return () => window.removeEventListener('beforeunload', ask);
  }, [dirty]);
}
