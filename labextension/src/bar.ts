/** Bars and small lines: solid is this notebook, hatched other notebooks, hollow everybody else. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { h, s } from './dom';
import type { Reading } from './forecast';
import type { Parts, Thresholds } from './model';
import { DASH, gib } from './words';

/** What a bar shows; sizes are bytes. */
export interface BarContent {
  readonly label: string;
  readonly used: number | null;
  readonly limit: number | null;
  readonly stop: number | null;
  readonly parts: Parts;
}

/** A bar whose end is the limit, with ticks at the thresholds and at the stop of the running cell. */
export function bar(
  content: BarContent,
  thresholds: Thresholds,
  trans: TranslationBundle
): HTMLElement {
  const { limit, parts, stop, used } = content;
  const part = (name: string, bytes: number | null): HTMLElement | null =>
    bytes && limit
      ? h('i', {
          class: `mlguard-${name}`,
          'data-key': name,
          style: `width: calc(${steps(bytes / limit)}% - 1px)`
        })
      : null;
  const tick = (fraction: number, isStop = false): HTMLElement =>
    h('b', {
      class: isStop ? 'is-stop' : null,
      style: `left: ${(100 * Math.min(1, fraction)).toFixed(2)}%`
    });
  return h(
    'div',
    {
      class: used === null ? 'mlguard-Bar is-unread' : 'mlguard-Bar',
      role: 'img',
      'aria-label': barSentence(content, trans)
    },
    part('own', parts.own),
    part('notebooks', parts.notebooks),
    part('processes', parts.processes),
    tick(thresholds.warning),
    tick(thresholds.critical),
    stop !== null && !!limit && tick(stop / limit, true)
  );
}

/**
 * A share in whole percent (something small stays half of one). Memory is never quite still, and a width that changes by
 * a pixel would glide for 120 ms all the same: seven frames of the whole page, four times a second.
 */
function steps(share: number): string {
  return String(Math.max(0.5, Math.round(share * 100)));
}

/** The bar as one sentence. */
export function barSentence(
  content: BarContent,
  trans: TranslationBundle
): string {
  const { label, used, limit, parts, stop } = content;
  const sentence = [
    trans.__('%1: %2 of %3 GiB', label, gib(used), gib(limit)),
    trans.__(
      '%1 this notebook, %2 other notebooks, %3 other processes',
      gib(parts.own),
      gib(parts.notebooks),
      gib(parts.processes)
    )
  ];
  if (stop !== null) {
    sentence.push(trans.__('stop of the running cell at %1', gib(stop)));
  }
  return sentence.join('; ');
}

/** The readings as a line without axes, a dot at the last one, and marks at times; spans at least 5 % of the limit, so noise is not blown up into news. */
export function sparkline(
  readings: readonly Reading[],
  limit: number | null,
  width: number,
  height: number,
  { hasDot = true, marks = [] }: { hasDot?: boolean; marks?: readonly number[] } = {}
): SVGElement {
  const known = readings.flatMap(([, used]) => (used === null ? [] : [used]));
  const low = Math.min(...known);
  const span = Math.max(Math.max(...known) - low, (limit ?? 0) * 0.05, 1);
  const middle = (Math.max(...known) + low) / 2;
  const first = readings[0]?.[0] ?? 0;
  const seconds = Math.max(1, (readings[readings.length - 1]?.[0] ?? 0) - first);
  const x = (at: number): number => 1 + ((at - first) / seconds) * (width - 6);
  const y = (used: number): number =>
    height / 2 - ((used - middle) / span) * (height - 6);
  const last = readings[readings.length - 1];
  return s(
    'svg',
    {
      class: 'mlguard-Spark',
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      'aria-hidden': 'true'
    },
    s('path', { d: linePath(readings, x, y) }),
    ...marks.map(at => s('path', { class: 'mlguard-Spark-mark', d: `M${x(at).toFixed(1)} 0V${height}` })),
    hasDot &&
      last !== undefined &&
      last[1] !== null &&
      s('circle', { cx: x(last[0]).toFixed(1), cy: y(last[1]).toFixed(1), r: 2 })
  );
}

/** A path through the readings; a missing one is a gap, never a zero. What lies between two of its own height is left out. */
export function linePath(
  readings: readonly Reading[],
  x: (at: number) => number,
  y: (value: number) => number
): string {
  const heights = readings.map(([, value]) => (value === null ? null : y(value).toFixed(1)));
  let pen = 'M';
  return readings
    .map(([at], index) => {
      const height = heights[index] ?? null;
      if (height === null) {
        pen = 'M';
        return '';
      }
      if (height === heights[index - 1] && height === heights[index + 1]) {
        return '';
      }
      const step = `${pen}${x(at).toFixed(1)} ${height}`;
      pen = 'L';
      return step;
    })
    .join('');
}

/** A number, or an en dash that says on focus and on hover why there is none. */
export function value(
  shown: string,
  reason: string | null,
  trans: TranslationBundle
): HTMLElement {
  if (shown !== DASH) {
    return h('span', { class: 'mlguard-value' }, shown);
  }
  const why = reason ?? trans.__('no sample yet');
  return h(
    'span',
    {
      class: 'mlguard-missing',
      tabindex: 0,
      role: 'note',
      'aria-label': trans.__('not known: %1', why),
      title: why,
      'data-tip': why
    },
    DASH
  );
}
