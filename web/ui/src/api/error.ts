/** What went wrong with a call, as the node says it: `code` for programs, `message` for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** The session in the browser is no longer good for anything. */
  get signedOut(): boolean {
    return this.status === 401;
  }

  /** The person has to prove again who they are: see `useConfirm`. */
  get wantsConfirm(): boolean {
    return this.status === 403 && this.code === 'confirm';
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

/** The error of an answer, whatever came: a proxy between may answer with something that is not ours. */
export function errorOf(status: number, body: unknown, otherwise: string): ApiError {
  if (body !== null && typeof body === 'object' && 'code' in body && 'message' in body) {
    return new ApiError(status, String(body.code), String(body.message));
  }
  return new ApiError(status, 'unknown', otherwise);
}
