// Gives the machine a socket and a clock.
import { begin, step } from './machine';
import type { Effect, Event, Setup, State } from './machine';
import type { Size } from './frames';

export type Ears = {
  /** Bytes for the screen; `done` is called when they are on it. */
  onOutput: (bytes: Uint8Array, done: () => void) => void;
  onEffect: (effect: Extract<Effect, { do: 'opened' | 'notice' | 'ended' }>) => void;
  onState: (state: State) => void;
};

/**
 * Nodes ask every client for a certificate, which `pal` has and browsers do not. For a request a browser says so by itself
 * and remembers it; a socket to a node that it has not spoken with before is given up instead. So it is spoken with first.
 */
function greet(socket: string): void {
  const url = new URL('/livez', socket.replace(/^ws/, 'http'));
  if (url.origin === location.origin) return;
  fetch(url, { mode: 'no-cors', credentials: 'include', cache: 'no-store' }).catch(() => undefined);
}

export class Connection {
  state: State;
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly setup: Setup,
    size: Size,
    private readonly ears: Ears,
  ) {
    this.state = begin(size, setup.wish);
  }

  start(): void {
    window.addEventListener('online', this.retry);
    for (const place of this.setup.places) greet(place.url);
    this.#feed({ is: 'start', now: performance.now() });
  }

  type(bytes: Uint8Array): void {
    this.#feed({ is: 'typed', bytes });
  }

  resize(size: Size): void {
    this.#feed({ is: 'resized', size });
  }

  readonly retry = (): void => this.#feed({ is: 'retry', now: performance.now() });

  leave(): void {
    this.#feed({ is: 'leave' });
  }

  #feed(event: Event): void {
    const before = this.state;
    const [state, effects] = step(before, event, this.setup);
    this.state = state;
    for (const effect of effects) this.#carryOut(effect);
    const seen = state.phase !== before.phase || state.latency !== before.latency || state.tries !== before.tries || state.nextAt !== before.nextAt;
    if (seen) this.ears.onState(state);
  }

  #carryOut(effect: Effect): void {
    switch (effect.do) {
      case 'connect':
        this.#connect(effect.url, effect.socket);
        break;
      case 'drop':
        this.#socket?.close();
        this.#socket = null;
        break;
      case 'frame':
        this.#socket?.send(JSON.stringify(effect.frame));
        break;
      case 'bytes':
        this.#socket?.send(effect.bytes);
        break;
      case 'timer':
        clearTimeout(this.#timer);
        if (effect.ms !== null) this.#timer = setTimeout(() => this.#feed({ is: 'timer', now: performance.now(), random: Math.random() }), effect.ms);
        break;
      case 'ended':
        window.removeEventListener('online', this.retry);
        this.ears.onEffect(effect);
        break;
      default:
        this.ears.onEffect(effect);
    }
  }

  #connect(url: string, n: number): void {
    this.#socket?.close();
    const socket = (this.#socket = new WebSocket(url));
    socket.binaryType = 'arraybuffer';
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#feed({ is: 'connected', socket: n });
    };
    socket.onclose = () => {
      if (!opened) greet(url);
      this.#feed({ is: 'lost', socket: n, now: performance.now(), random: Math.random() });
    };
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (n !== this.state.socket) return;
      if (typeof data === 'string') {
        this.#feed({ is: 'text', socket: n, text: data, now: performance.now(), random: Math.random() });
      } else {
        const bytes = new Uint8Array(data);
        this.ears.onOutput(bytes, () => this.#feed({ is: 'written', socket: n, bytes: bytes.length }));
      }
    };
  }
}
