/** The signs: a level is a shape first, then words, then a colour. */

import { s } from './dom';

export type Level = 'ok' | 'warning' | 'critical';
export type Sign =
  | 'warning'
  | 'critical'
  | 'stale'
  | 'note'
  | 'done'
  | 'none'
  | 'running'
  | 'waiting'
  | 'open'
  | 'closed'
  | 'more'
  | 'rise'
  | 'guard'
  | 'cross'
  | 'pause'
  | 'square';

type Stroke = readonly [path: string, colour: string, width: number];

const OCTAGON = 'M3.6 .4h4.8l3.2 3.2v4.8l-3.2 3.2H3.6L.4 8.4V3.6Z';
const TRIANGLE = 'M6 .8 11.6 11H.4Z';
const CIRCLE = 'M6 1a5 5 0 1 1 0 10 5 5 0 1 1 0-10Z';
const SHIELD = 'M6 .8 10.8 2.4V6c0 2.7-2 4.6-4.8 5.4C3.2 10.6 1.2 8.7 1.2 6V2.4Z';

const FILLED: Partial<Record<Sign, readonly [path: string, colour: string]>> = {
  warning: [TRIANGLE, 'warning'],
  critical: [OCTAGON, 'critical'],
  running: ['M6 1a5 5 0 0 1 0 10Z', 'series-own'],
  open: ['M2.5 4 6 8l3.5-4Z', 'icon'],
  closed: ['M4 2.5 8 6 4 9.5Z', 'icon'],
  more: [
    'M.8 6a1.2 1.2 0 1 1 2.4 0 1.2 1.2 0 1 1-2.4 0M4.8 6a1.2 1.2 0 1 1 2.4 0 1.2 1.2 0 1 1-2.4 0M8.8 6a1.2 1.2 0 1 1 2.4 0 1.2 1.2 0 1 1-2.4 0',
    'icon'
  ]
};

const STROKED: Partial<Record<Sign, readonly Stroke[]>> = {
  warning: [['M6 4v3.6M6 8.6v1.3', 'ground', 1.4]],
  critical: [['M6 2.6v4.2M6 8v1.4', 'ground', 1.6]],
  stale: [
    [CIRCLE, 'mark', 1.4],
    ['M6 3v3.3h2.4', 'mark', 1.2]
  ],
  note: [
    ['M.7 .7h10.6v10.6H.7Z', 'mark', 1.4],
    ['M6 5.2V9.4M6 2.7v1.4', 'mark', 1.4]
  ],
  done: [['M1.5 6.4 4.6 9.5 10.5 2.8', 'ok', 1.8]],
  none: [['M2 6h8', 'mark', 1.6]],
  running: [[CIRCLE, 'series-own', 1.4]],
  waiting: [[CIRCLE, 'mark', 1.4]],
  rise: [['M1 10.5 9.5 2M4.5 1.8h5.2V7', 'series-own', 1.5]],
  guard: [
    [SHIELD, 'icon', 1.3],
    ['M3.6 8V6.4M6 8V3.8M8.4 8V5.2', 'icon', 1.2]
  ],
  pause: [['M3.6 2v8M8.4 2v8', 'mark', 2]],
  square: [['M2 2h8v8H2Z', 'mark', 1.6]],
  cross: [['M2 2l8 8M10 2l-8 8', 'critical', 1.8]]
};

/** The sign as a picture of `size` pixels; with `label` it is read aloud, without it is decoration. */
export function sign(name: Sign, label?: string, size = 12): SVGElement {
  const filled = FILLED[name];
  return s(
    'svg',
    {
      width: size,
      height: size,
      viewBox: '0 0 12 12',
      role: label ? 'img' : null,
      'aria-label': label,
      'aria-hidden': label ? null : 'true'
    },
    filled && s('path', { d: filled[0], fill: `var(--mlguard-${filled[1]})` }),
    ...(STROKED[name] ?? []).map(([d, colour, width], index) =>
      s('path', {
        d,
        fill: 'none',
        stroke: `var(--mlguard-${colour})`,
        'stroke-width': width,
        'stroke-dasharray': name === 'stale' && index === 0 ? '2 1.6' : null
      })
    )
  );
}
