/** `?t=` of a deep link: seconds (`75`, `75.5`) or `1h2m3s`, as milliseconds. */
export function readMoment(text: string | null | undefined): number | undefined {
  if (text === null || text === undefined) return undefined;
  const plain = /^\d+(\.\d{1,3})?$/.exec(text);
  if (plain) return Math.round(Number(text) * 1000);
  const parts = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text);
  if (!parts || text === '') return undefined;
  const [, h = '0', m = '0', s = '0'] = parts;
  return ((Number(h) * 60 + Number(m)) * 60 + Number(s)) * 1000;
}

export function writeMoment(ms: number): string {
  return String(Math.floor(ms / 1000));
}

/** `1:02:03`, `4:05`; with tenths for a screen's exact place. */
export function shownMoment(ms: number, tenths = false): string {
  const whole = Math.floor(Math.max(0, ms) / 1000);
  const two = (n: number) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const text = h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  return tenths ? `${text}.${Math.floor((Math.max(0, ms) % 1000) / 100)}` : text;
}

export const SPEEDS = [0.5, 1, 2, 4, 8, 16] as const;

/** The next speed in a direction; the same at either end. */
export function otherSpeed(speed: number, direction: 1 | -1): number {
  const index = SPEEDS.findIndex((s) => s === speed);
  const next = SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, (index < 0 ? 1 : index) + direction))];
  return next ?? speed;
}
