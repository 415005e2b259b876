export { api, call, json, request, setCsrf, text, urlOf, whenSignedOut } from './client';
export { ApiError, isAbort } from './error';
export { asApiError, useAction, usePages, useQuery } from './hooks';
export type { Action, Pages, PageOf, Query, QueryOptions } from './hooks';
export type * from './names';

import type { components } from './schema';
/** A type of the API's document by its name: `Schema<'HostView'>`. */
export type Schema<N extends keyof components['schemas']> = components['schemas'][N];
