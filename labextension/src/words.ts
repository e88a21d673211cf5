/** Numbers as a person reads them: one decimal for GiB, a space before every unit, forecasts in two figures. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { Forecast } from './forecast';

export const GIB = 2 ** 30;
export const DASH = '–';

/** "16.3", or an en dash where nobody knows; `null` is not zero. */
export function gib(bytes: number | null): string {
  return bytes === null ? DASH : (bytes / GIB).toFixed(1);
}

/** A limit as short as it can be: "80", "15.3", "512". */
export function shortGib(bytes: number | null): string {
  if (bytes === null) {
    return DASH;
  }
  const value = bytes / GIB;
  return value >= 100 || Math.abs(value - Math.round(value)) < 0.05
    ? value.toFixed(0)
    : value.toFixed(1);
}

/** "83 %". */
export function percent(fraction: number | null): string {
  return fraction === null ? DASH : `${Math.round(fraction * 100)} %`;
}

/** "0:37" while something runs, "1:02:05" from an hour on. */
export function clockTime(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number): string => String(value).padStart(2, '0');
  const [hours, minutes] = [
    Math.floor(whole / 3600),
    Math.floor(whole / 60) % 60
  ];
  return hours
    ? `${hours}:${two(minutes)}:${two(whole % 60)}`
    : `${minutes}:${two(whole % 60)}`;
}

/** "18 ms", "42.1 s" or "1 min 15 s", once finished. */
export function duration(seconds: number): string {
  if (seconds < 0.1) {
    return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  }
  if (seconds < 60) {
    return `${seconds.toFixed(1)} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 3600) {
    return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  }
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
}

/** "40 s", "2 min": two figures, so that a forecast does not flicker. */
export function rounded(seconds: number): string {
  if (seconds < 57.5) {
    return `${Math.max(5, Math.round(seconds / 5) * 5)} s`;
  }
  if (seconds < 3600) {
    return `${Math.round(seconds / 60)} min`;
  }
  return `${Math.round(seconds / 3600)} h`;
}

/** "30 s to 2 min": how sure a forecast is; "" where both ends read alike, so that only doubt takes room. */
export function doubt({ soonest, latest }: Forecast, trans: TranslationBundle): string {
  const [from, to] = [rounded(soonest), latest === null || latest > 3600 ? null : rounded(latest)];
  if (to === null) {
    return trans.__('%1 or later', from);
  }
  return from === to ? '' : trans.__('%1 to %2', from, to);
}

/** "12 s", "12 min", "3 h": how long ago, in one unit. */
export function age(seconds: number): string {
  if (seconds < 60) {
    return `${Math.max(0, Math.round(seconds))} s`;
  }
  return seconds < 3600
    ? `${Math.round(seconds / 60)} min`
    : `${Math.round(seconds / 3600)} h`;
}

/** "14:07:33" (or "14:07") of a time in seconds since the epoch, in the reader's zone. */
export function timeOfDay(wall: number, withSeconds = true): string {
  return new Date(wall * 1000)
    .toTimeString()
    .slice(0, withSeconds ? 8 : 5);
}
