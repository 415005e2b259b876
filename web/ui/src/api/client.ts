import createClient from 'openapi-fetch';
import { errors } from '../strings/app';
import { ApiError, errorOf, isAbort } from './error';
import type { paths } from './schema';

// The token that goes with every change. It is part of the session that the node told, and lives in memory alone.
let csrf = '';
let onSignedOut = () => {};

export function setCsrf(token: string): void {
  csrf = token;
}

export function whenSignedOut(then: () => void): void {
  onSignedOut = then;
}

const reading = new Set(['GET', 'HEAD']);

async function send(request: Request): Promise<Response> {
  if (csrf && !reading.has(request.method)) request.headers.set('x-palisade-csrf', csrf);
  try {
    return await fetch(request);
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError(0, 'unreachable', errors.unreachable);
  }
}

/** The typed client, made from the node's own description of its API. Use with `call`. */
export const api = createClient<paths>({ baseUrl: location.origin, fetch: send });

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** Waits for a call of `api` and gives its data, or throws an ApiError. */
export async function call<T>(answer: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await answer;
  if (!response.ok) throw fail(response.status, error);
  return data as T;
}

function fail(status: number, body: unknown, proves = false): ApiError {
  const error = errorOf(status, body, status >= 500 ? errors.server(status) : errors.status(status));
  if (error.signedOut && !proves) onSignedOut();
  return error;
}

export type Query = Record<string, string | number | boolean | undefined>;

export type Options = {
  query?: Query;
  /** Sent as JSON; a string is sent as it is, with `type`. */
  body?: unknown;
  type?: string;
  accept?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** What is asked are credentials: being refused says nothing about the session. */
  proves?: boolean;
};

export function urlOf(path: string, query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') params.set(name, String(value));
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

/** A call by hand: for routes that are not in the document, for YAML and for streams. Throws an ApiError. */
export async function request(method: string, path: string, options: Options = {}): Promise<Response> {
  const headers = new Headers({ ...options.headers, accept: options.accept ?? 'application/json' });
  let body: string | undefined;
  if (options.body !== undefined) {
    headers.set('content-type', options.type ?? 'application/json');
    body = typeof options.body === 'string' && options.type ? options.body : JSON.stringify(options.body);
  }
  const url = new URL(urlOf(path, options.query), location.origin);
  const response = await send(new Request(url, { method, headers, body, signal: options.signal ?? null }));
  if (!response.ok) throw fail(response.status, await response.json().catch(() => undefined), options.proves);
  return response;
}

/** As `request`, and reads the JSON of the answer; nothing when there is none. */
export async function json<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const response = await request(method, path, options);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** As `request`, and reads the text of the answer. */
export async function text(method: string, path: string, options: Options = {}): Promise<string> {
  return (await request(method, path, options)).text();
}
