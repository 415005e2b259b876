import { units } from '../strings/app';

/** 1536 -> "1.5 KiB" */
export function bytes(n: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = n;
  let at = 0;
  while (value >= 1024 && at < names.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${names[at]}`;
}

/** Seconds as people say them: "3 s", "4 min", "2 h 5 min", "3 d 4 h". */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} ${units.s}`;
  const min = Math.floor(s / 60);
  if (min < 60) return s % 60 && min < 10 ? `${min} ${units.min} ${s % 60} ${units.s}` : `${min} ${units.min}`;
  const h = Math.floor(min / 60);
  if (h < 24) return min % 60 ? `${h} ${units.h} ${min % 60} ${units.min}` : `${h} ${units.h}`;
  const d = Math.floor(h / 24);
  return h % 24 ? `${d} ${units.d} ${h % 24} ${units.h}` : `${d} ${units.d}`;
}

/** How long ago, or in how long, in one unit: "5 min ago", "in 3 d". */
export function relative(time: Date, now: Date): string {
  const seconds = Math.round((now.getTime() - time.getTime()) / 1000);
  const size = Math.abs(seconds);
  if (size < 5) return units.now;
  const text =
    size < 60
      ? `${size} ${units.s}`
      : size < 3600
        ? `${Math.floor(size / 60)} ${units.min}`
        : size < 86400
          ? `${Math.floor(size / 3600)} ${units.h}`
          : `${Math.floor(size / 86400)} ${units.d}`;
  return seconds > 0 ? units.ago(text) : units.ahead(text);
}

/** "2026-03-04 05:06:07", in the time zone of whoever looks. */
export function exact(time: Date, zone = false): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const text = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  if (!zone) return text;
  const shift = -time.getTimezoneOffset();
  return `${text} ${shift < 0 ? '-' : '+'}${two(Math.floor(Math.abs(shift) / 60))}:${two(Math.abs(shift) % 60)}`;
}

export function count(n: number): string {
  return n.toLocaleString('en');
}
