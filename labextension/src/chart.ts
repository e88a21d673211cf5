/** The last minutes of one device as a picture, and the same readings as a table. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { linePath } from './bar';
import { h, s, type Child } from './dom';
import type { Reading } from './forecast';
import type { CellRow } from './front';
import { Device, LiveModel, RAM } from './model';
import { gib, percent, shortGib, timeOfDay } from './words';

const MEMORY_HEIGHT = 92;
const AXIS = 30;
const UTILISATION_HEIGHT = 30;
const GAP_SECONDS = 15;

/** What a chart shows and how wide it may be, in pixels. */
export interface ChartContent {
  readonly device: Device;
  readonly seconds: number;
  readonly width: number;
  readonly stop: number | null;
  readonly cells: readonly CellRow[];
}

interface Plane {
  readonly width: number;
  readonly now: number;
  readonly seconds: number;
  x(at: number): number;
}

/** Memory over time with the stop and the first threshold; utilisation in a plot of its own; the cells below. */
export function chart(
  content: ChartContent,
  model: LiveModel,
  trans: TranslationBundle
): SVGElement {
  const { device, seconds, width, cells } = content;
  const now = model.sample?.wall ?? Date.now() / 1000;
  const inner = Math.max(80, width - AXIS);
  const plane: Plane = {
    width: inner,
    now,
    seconds,
    x: at => inner - 8 - ((now - at) / seconds) * (inner - 8)
  };
  const hasUtilisation =
    device.gpu !== null && device.gpu.utilisation.value !== null;
  const top = MEMORY_HEIGHT + (hasUtilisation ? 48 : 0);
  const height = top + 40;
  return s(
    'svg',
    {
      class: 'mlguard-Chart',
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: 'img',
      'aria-label': chartSentence(content, model, trans)
    },
    ...memory(content, model, plane, trans),
    ...(hasUtilisation ? utilisation(device, model, plane, trans) : []),
    ...cellMarks(cells, plane, top, trans),
    ...timeAxis(plane, top, trans)
  );
}

function memory(
  content: ChartContent,
  model: LiveModel,
  plane: Plane,
  trans: TranslationBundle
): Child[] {
  const { device, seconds, stop } = content;
  const all = withGaps(model.readings(device.key, seconds));
  const own = withGaps(model.ownReadings(device.key, seconds));
  const limit =
    device.limit.value ?? Math.max(1, ...all.map(([, used]) => used ?? 0));
  const y = (bytes: number): number =>
    MEMORY_HEIGHT - (Math.min(bytes, limit) / limit) * (MEMORY_HEIGHT - 6);
  const warning = y(limit * model.thresholds.warning);
  const right = plane.width + AXIS;
  return [
    ...[0, limit / 2, limit].flatMap((bytes, index) => [
      s('path', {
        class: index ? 'is-rule' : 'is-axis',
        d: `M0 ${y(bytes).toFixed(1)}H${plane.width}`
      }),
      s(
        'text',
        { x: right, y: y(bytes) + (index === 2 ? 6 : 4), 'text-anchor': 'end' },
        shortGib(bytes)
      )
    ]),
    s('path', {
      class: 'is-warning',
      d: `M0 ${warning.toFixed(1)}H${plane.width}`
    }),
    s('text', { x: 2, y: warning + 11 }, percent(model.thresholds.warning)),
    ...lossMark(device, plane, trans),
    ...stopMark(stop, y, plane, trans),
    ...line('is-device', all, plane, y),
    ...line('is-own', own, plane, y)
  ];
}

/** Nothing was read since a device was lost: an empty field with the time in it, not a line at zero. */
function lossMark({ lost }: Device, plane: Plane, trans: TranslationBundle): Child[] {
  if (lost === null) {
    return [];
  }
  const from = Math.max(0, plane.x(lost.wall));
  return [
    s('path', { class: 'is-lost', d: `M${from.toFixed(1)} 6H${plane.width}V${MEMORY_HEIGHT}H${from.toFixed(1)}Z` }),
    s(
      'text',
      { class: 'is-text', x: plane.width - 2, y: MEMORY_HEIGHT - 6, 'text-anchor': 'end' },
      trans.__('no reading since %1', timeOfDay(lost.wall))
    )
  ];
}

function stopMark(
  stop: number | null,
  y: (bytes: number) => number,
  plane: Plane,
  trans: TranslationBundle
): Child[] {
  if (stop === null) {
    return [];
  }
  const [at, left] = [y(stop), plane.width - 26];
  return [
    s('path', { class: 'is-stop', d: `M${left} ${at.toFixed(1)}H${plane.width}` }),
    s(
      'text',
      { class: 'is-text', x: left - 2, y: at + 4, 'text-anchor': 'end' },
      trans.__('stop %1', shortGib(stop))
    )
  ];
}

function utilisation(
  device: Device,
  model: LiveModel,
  plane: Plane,
  trans: TranslationBundle
): Child[] {
  const [base, right] = [MEMORY_HEIGHT + 48, plane.width + AXIS];
  const y = (fraction: number): number => base - fraction * UTILISATION_HEIGHT;
  const readings = withGaps(model.utilisation(device.key, plane.seconds));
  return [
    s('text', { x: 0, y: MEMORY_HEIGHT + 14 }, trans.__('utilisation, %')),
    s('path', { class: 'is-axis', d: `M0 ${base}H${plane.width}` }),
    s('path', { class: 'is-rule', d: `M0 ${y(1)}H${plane.width}` }),
    s('text', { x: right, y: y(1) + 5, 'text-anchor': 'end' }, '100'),
    s('text', { x: right, y: base + 3, 'text-anchor': 'end' }, '0'),
    ...line('is-device', readings, plane, y)
  ];
}

function cellMarks(
  cells: readonly CellRow[],
  plane: Plane,
  top: number,
  trans: TranslationBundle
): Child[] {
  const shown = cells.filter(
    cell =>
      cell.start !== null && (cell.end ?? plane.now) > plane.now - plane.seconds
  );
  let free = shown.length ? 28 : 0;
  const marks = shown.flatMap(cell => {
    const from = Math.max(0, plane.x(cell.start ?? plane.now));
    const to = Math.max(from + 2, plane.x(Math.min(plane.now, cell.end ?? plane.now)));
    const middle = (from + to) / 2;
    const isRoom = middle - 4 >= free;
    free = isRoom ? middle + 8 : free;
    return [
      s('path', {
        class: 'is-cell',
        d: `M${from.toFixed(1)} ${top + 6}h${(to - from).toFixed(1)}v3h-${(to - from).toFixed(1)}z`
      }),
      isRoom &&
        s(
          'text',
          { class: 'is-text', x: middle.toFixed(1), y: top + 19, 'text-anchor': 'middle' },
          String(cell.number)
        )
    ];
  });
  return [...marks, s('text', { x: 0, y: top + 19 }, trans.__('cells'))];
}

function timeAxis(
  plane: Plane,
  top: number,
  trans: TranslationBundle
): Child[] {
  const end = plane.width - 8;
  const [y, text] = [top + 23, top + 37];
  return [
    s('path', {
      class: 'is-axis',
      d: `M0 ${y}H${end}M.5 ${y}v3M${end / 2} ${y}v3M${end} ${y}v3`
    }),
    s('text', { x: 0, y: text }, timeOfDay(plane.now - plane.seconds, false)),
    s(
      'text',
      { x: end / 2, y: text, 'text-anchor': 'middle' },
      timeOfDay(plane.now - plane.seconds / 2, false)
    ),
    s('text', { x: end, y: text, 'text-anchor': 'end' }, trans.__('now'))
  ];
}

/** Where nobody looked for a while there is a gap, not a straight line. */
function withGaps(readings: readonly Reading[]): Reading[] {
  return readings.flatMap((reading, index) => {
    const before = readings[index - 1];
    return before !== undefined && reading[0] - before[0] > GAP_SECONDS
      ? [[before[0] + 1, null] as Reading, reading]
      : [reading];
  });
}

/** The line through the readings, and the field below it. */
function line(
  name: string,
  readings: readonly Reading[],
  plane: Plane,
  y: (value: number) => number
): Child[] {
  const pieces: Reading[][] = [[]];
  for (const reading of readings) {
    if (reading[1] === null) {
      pieces.push([]);
    } else {
      pieces[pieces.length - 1]?.push(reading);
    }
  }
  const lines = pieces.map(piece => linePath(piece, plane.x, y));
  const below = pieces.map((piece, index) => {
    const [first, last] = [piece[0]?.[0] ?? 0, piece[piece.length - 1]?.[0] ?? 0];
    return piece.length > 1
      ? `${lines[index] ?? ''}L${plane.x(last).toFixed(1)} ${y(0)}L${plane.x(first).toFixed(1)} ${y(0)}Z`
      : '';
  });
  return [
    s('path', { class: `${name}-area`, d: below.join('') }),
    s('path', { class: name, d: lines.join('') })
  ];
}

/** The chart in a sentence: where it began, its highest point, where it is now. */
export function chartSentence(
  content: ChartContent,
  model: LiveModel,
  trans: TranslationBundle
): string {
  const { device, seconds } = content;
  const known = model
    .readings(device.key, seconds)
    .filter((reading): reading is readonly [number, number] => reading[1] !== null);
  const [first, last] = [known[0], known[known.length - 1]];
  if (first === undefined || last === undefined) {
    return trans.__('%1 memory: no readings yet', device.label);
  }
  const highest = known.reduce((most, one) => (one[1] > most[1] ? one : most));
  return trans.__(
    '%1 memory: %2 GiB at %3, at most %4 at %5, now %6, of which %7 this notebook. The same readings are in the table.',
    device.label,
    gib(first[1]),
    timeOfDay(first[0], false),
    gib(highest[1]),
    timeOfDay(highest[0]),
    gib(last[1]),
    gib(model.parts(device.key).own)
  );
}

/** The same readings as a table: now, and every full minute. */
export function chartTable(
  content: ChartContent,
  model: LiveModel,
  trans: TranslationBundle
): HTMLTableElement {
  const { device, seconds, cells } = content;
  const points = model.recent(seconds);
  const rows = points
    .filter(
      (point, index) =>
        index === points.length - 1 ||
        Math.floor(point.wall / 60) !==
          Math.floor((points[index - 1]?.wall ?? 0) / 60)
    )
    .reverse();
  const head = [trans.__('time'), trans.__('all GiB'), trans.__('here')];
  if (device.key !== RAM) {
    head.push(trans.__('util %'));
  }
  head.push(trans.__('cell'));
  return h(
    'table',
    { class: 'mlguard-Ledger is-tight' },
    h(
      'caption',
      { class: 'mlguard-hidden' },
      trans.__('%1 over time', device.label)
    ),
    h('thead', {}, h('tr', {}, ...head.map(word => h('th', { scope: 'col' }, word)))),
    h(
      'tbody',
      {},
      ...rows.map(point => {
        const gpu = point.gpus.find(other => other.uuid === device.key);
        const used = device.key === RAM ? point.ram : (gpu?.used ?? null);
        const at = cells.filter(
          cell =>
            cell.start !== null &&
            cell.start <= point.wall &&
            point.wall <= (cell.end ?? point.wall)
        );
        return h(
          'tr',
          {},
          h('th', { scope: 'row' }, timeOfDay(point.wall)),
          h('td', {}, gib(used)),
          h('td', {}, gib(model.ownAt(point, device.key))),
          device.key !== RAM &&
            h('td', {}, percent(gpu?.utilisation ?? null).replace(' %', '')),
          h('td', {}, at.map(cell => cell.number).join(', '))
        );
      })
    )
  );
}
