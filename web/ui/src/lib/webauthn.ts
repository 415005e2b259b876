// Passkeys: between the JSON that the node speaks and the buffers that the browser wants. Newer browsers have
// functions for it; older ones get these.

export function fromBase64url(text: string): Uint8Array<ArrayBuffer> {
  const plain = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(plain, (char) => char.charCodeAt(0));
}

export function toBase64url(bytes: ArrayBuffer | Uint8Array): string {
  const text = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join('');
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

type Json = Record<string, unknown>;
type Descriptor = { id: string; type: 'public-key'; transports?: AuthenticatorTransport[] };

/** Some libraries wrap the options, as the argument of the browser's function is. */
function inner(options: unknown): Json {
  const outer = options as Json;
  return (outer.publicKey ?? outer) as Json;
}

const descriptors = (list: unknown) => ((list ?? []) as Descriptor[]).map((one) => ({ ...one, id: fromBase64url(one.id) }));

export function creationOptions(options: unknown): PublicKeyCredentialCreationOptions {
  const json = inner(options);
  const user = json.user as Json;
  return {
    ...json,
    challenge: fromBase64url(json.challenge as string),
    user: { ...user, id: fromBase64url(user.id as string) },
    excludeCredentials: descriptors(json.excludeCredentials),
  } as unknown as PublicKeyCredentialCreationOptions;
}

export function requestOptions(options: unknown): PublicKeyCredentialRequestOptions {
  const json = inner(options);
  return {
    ...json,
    challenge: fromBase64url(json.challenge as string),
    allowCredentials: descriptors(json.allowCredentials),
  } as unknown as PublicKeyCredentialRequestOptions;
}

export function credentialJson(credential: PublicKeyCredential): Json {
  const { response } = credential;
  const shared = {
    id: credential.id,
    rawId: toBase64url(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
  if (response instanceof AuthenticatorAttestationResponse) {
    const transports = response.getTransports?.() ?? [];
    return { ...shared, response: { clientDataJSON: toBase64url(response.clientDataJSON), attestationObject: toBase64url(response.attestationObject), transports } };
  }
  const proof = response as AuthenticatorAssertionResponse;
  return {
    ...shared,
    response: {
      clientDataJSON: toBase64url(proof.clientDataJSON),
      authenticatorData: toBase64url(proof.authenticatorData),
      signature: toBase64url(proof.signature),
      userHandle: proof.userHandle ? toBase64url(proof.userHandle) : null,
    },
  };
}

export function knowsPasskeys(): boolean {
  return typeof PublicKeyCredential === 'function' && typeof navigator.credentials?.create === 'function';
}
