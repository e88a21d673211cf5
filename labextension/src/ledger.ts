/** Who holds it, and the cells of the notebook in front: two real tables. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { value } from './bar';
import { h, type Child } from './dom';
import type { CellPeak, CellRow } from './front';
import type { Holders, KernelNow, Measured, OtherNow } from './messages';
import { Device, heldOn, LiveModel, RAM } from './model';
import { sign } from './signs';
import { age, clockTime, duration, gib } from './words';

const ANOTHER_SERVER = 'another_server';
const SHOWN_FROM = 0.05 * 2 ** 30;

/** A number as it is shown, and why there is none. */
type Amount = readonly [shown: string, reason: string | null];

/** What a row of the ledger is about. */
interface Row {
  readonly fill: 'own' | 'notebooks' | 'processes';
  readonly name: string;
  readonly path: string | null;
  readonly state: string;
  readonly kernelId: string | null;
  readonly held: readonly Amount[];
}

/** Everything that can be seen of the ledger. */
export interface Ledger {
  readonly columns: readonly string[];
  readonly groups: readonly (readonly [title: string, rows: readonly Row[]])[];
  readonly used: readonly Amount[];
}

/**
 * Each column adds up to the device above it; what nobody can be named for is a row of its own. `fresh` is a kernel as the
 * page knows it, which may be newer than what the server saw at `wall`. Null: nobody has looked yet.
 */
export function ledger(
  model: LiveModel,
  trans: TranslationBundle,
  showOthers: boolean,
  fresh: (kernel: KernelNow, wall: number) => KernelNow
): Ledger | null {
  const { holders } = model;
  if (holders === null) {
    return null;
  }
  const columns = ledgerColumns(model, trans);
  const kernels = holders.kernels.map(row => fresh(row, holders.wall));
  const mine = kernels.filter(row => row.kernel_id === model.kernelId);
  const others = kernels.filter(row => !mine.includes(row));
  return {
    columns: columns.map(column => column.label),
    groups: [
      [trans.__('This notebook'), mine.map(row => kernelRow(row, 'own', columns, trans))],
      [trans.__('Other notebooks'), others.map(row => kernelRow(row, 'notebooks', columns, trans))],
      [trans.__('Other processes'), showOthers ? otherRows(balanced(holders, model), columns, trans) : []]
    ],
    used: columns.map(column => amount(column.used(model)))
  };
}

function amount({ value, reason }: Measured): Amount {
  return [gib(value), reason];
}

/** The ledger as a table. */
export function ledgerTable(shown: Ledger | null, trans: TranslationBundle): HTMLElement {
  if (shown === null) {
    return h('p', { class: 'mlguard-Lead mlguard-quiet' }, trans.__('Nobody has looked yet.'));
  }
  const { columns, groups, used } = shown;
  return h(
    'table',
    { class: 'mlguard-Ledger' },
    h('caption', { class: 'mlguard-hidden' }, trans.__('Who holds the memory, GiB')),
    h('colgroup', {}, h('col'), ...columns.map(() => h('col', { class: 'is-number' }))),
    h(
      'thead',
      {},
      h('tr', {}, h('th', { scope: 'col' }, 'GiB'), ...columns.map(label => h('th', { scope: 'col' }, label)))
    ),
    ...groups.flatMap(([title, rows]) =>
      rows.length
        ? [
            h(
              'tbody',
              { 'data-key': title },
              h(
                'tr',
                { class: 'is-group' },
                h('th', { scope: 'rowgroup', colspan: columns.length + 1 }, title)
              ),
              ...rows.map(row => ledgerRow(row, trans))
            )
          ]
        : []
    ),
    h('tfoot', {}, h('tr', {}, h('th', { scope: 'row' }, trans.__('in use')), ...cells(used, trans)))
  );
}

function cells(amounts: readonly Amount[], trans: TranslationBundle): HTMLElement[] {
  return amounts.map(([shown, reason]) => h('td', {}, value(shown, reason, trans)));
}

/** One column: RAM, the only GPU, or all GPUs together. */
interface Column {
  readonly label: string;
  held(row: Pick<KernelNow, 'ram' | 'gpus'>): Measured;
  used(model: LiveModel): Measured;
}

function ledgerColumns(model: LiveModel, trans: TranslationBundle): Column[] {
  const gpus = model.devices.filter(device => device.gpu !== null);
  const ram: Column = {
    label: 'RAM',
    held: row => row.ram,
    used: ({ sample }) => sample?.ram.used ?? { value: null, reason: null }
  };
  if (gpus.length === 0) {
    return [ram];
  }
  const isSliced = gpus.every(device => device.gpu?.mig);
  const label =
    gpus.length === 1
      ? (gpus[0]?.label ?? 'GPU')
      : isSliced
        ? trans.__('slices')
        : trans.__('GPU');
  return [
    ram,
    {
      label,
      held: row => total(gpus.map(({ key, used }) => (used.value === null ? used : heldOn(row, key)))), // lost: for all
      used: () => total(gpus.map(device => device.used))
    }
  ];
}

/** The sum, or null with the reason when any part is not known. */
function total(parts: readonly Measured[]): Measured {
  const unknown = parts.find(part => part.value === null);
  return (
    unknown ?? {
      value: parts.reduce((sum, part) => sum + (part.value ?? 0), 0),
      reason: null
    }
  );
}

function kernelRow(
  kernel: KernelNow,
  fill: 'own' | 'notebooks',
  columns: readonly Column[],
  trans: TranslationBundle
): Row {
  const name = (kernel.path ?? kernel.name).split('/').pop() ?? kernel.name;
  return {
    fill,
    name,
    path: kernel.path,
    state: state(kernel, trans),
    kernelId: kernel.state === ANOTHER_SERVER ? null : kernel.kernel_id, // only its own server can ask it
    held: columns.map(column => amount(column.held(kernel)))
  };
}

function state(kernel: KernelNow, trans: TranslationBundle): string {
  if (kernel.elsewhere !== null) {
    return trans.__('on another host');
  }
  if (kernel.state === ANOTHER_SERVER) {
    return trans.__('on another server');
  }
  if (kernel.state === 'busy') {
    return trans.__('running');
  }
  if (kernel.state === 'idle' && kernel.last_activity !== null) {
    const seconds = Date.now() / 1000 - kernel.last_activity;
    return seconds < 60 ? trans.__('idle') : trans.__('idle %1', age(seconds));
  }
  return kernel.state === 'unknown' ? '' : kernel.state;
}

/**
 * The last rows take up what has changed since the processes were looked at (a second or two ago), so that the column
 * adds up to the device above it and not to what that was.
 */
function balanced(holders: Holders, model: LiveModel): readonly OtherNow[] {
  const all = [...holders.kernels, ...holders.others];
  const change = (key: string): number => {
    const used = model.device(key)?.used.value ?? null;
    const held = all.reduce((sum, row) => sum + (heldOn(row, key).value ?? 0), 0);
    return used === null ? 0 : used - held;
  };
  const add = (held: Measured, key: string): Measured =>
    held.value === null ? held : { value: Math.max(0, held.value + change(key)), reason: null };
  return holders.others.map(row => ({
    ...row,
    ram: row.who === 'rest' ? add(row.ram, RAM) : row.ram,
    gpus:
      row.who === 'not_attributed'
        ? row.gpus.map(held => ({ ...held, used: add(held.used, held.uuid) }))
        : row.gpus
  }));
}

function otherRows(
  others: readonly OtherNow[],
  columns: readonly Column[],
  trans: TranslationBundle
): Row[] {
  const names: Record<OtherNow['who'], (count: number | null) => string> = {
    server: () => trans.__('server, terminals'),
    other_users: count =>
      trans._n('%1 of another user', '%1 of other users', count ?? 1),
    not_attributed: () => trans.__('not attributed'),
    rest: () => trans.__('everybody else')
  };
  return others
    .filter(
      row =>
        row.who !== 'not_attributed' ||
        columns.some(column => (column.held(row).value ?? 0) >= SHOWN_FROM)
    )
    .map(row => ({
      fill: 'processes',
      name: names[row.who](row.count),
      path: null,
      state: '',
      kernelId: null,
      held: columns.map(column => amount(column.held(row)))
    }));
}

function ledgerRow(row: Row, trans: TranslationBundle): HTMLElement {
  const name: Child =
    row.path === null
      ? h('span', { class: 'mlguard-cut', title: row.name }, row.name)
      : h(
          'button',
          {
            type: 'button',
            class: 'mlguard-link mlguard-cut',
            title: trans.__('Open %1', row.path),
            'data-do': 'open',
            'data-with': row.path
          },
          row.name
        );
  return h(
    'tr',
    {},
    h(
      'th',
      { scope: 'row' },
      h(
        'span',
        { class: 'mlguard-who' },
        h('span', { class: `mlguard-swatch mlguard-${row.fill}`, 'aria-hidden': 'true' }),
        name,
        h('small', { class: 'not-narrow' }, row.state),
        row.kernelId !== null &&
          h(
            'button',
            {
              type: 'button',
              class: 'mlguard-release',
              title: trans.__('Release the memory of %1', row.name),
              'aria-label': trans.__('Release the memory of %1', row.name),
              'aria-haspopup': 'dialog',
              'data-do': 'release',
              'data-with': row.kernelId
            },
            sign('more')
          )
      )
    ),
    ...cells(row.held, trans)
  );
}

/** The cells by their peak; a name selects the cell. */
export function cellTable(
  rows: readonly CellRow[],
  devices: readonly Device[],
  trans: TranslationBundle
): HTMLElement {
  const gpu = devices.find(device => device.gpu !== null);
  const main = gpu?.key ?? RAM;
  const sorted = [...rows].sort(
    (one, other) =>
      Number(other.isRunning) - Number(one.isRunning) ||
      (other.peak(main).bytes ?? 0) - (one.peak(main).bytes ?? 0) ||
      (other.peak(RAM).bytes ?? 0) - (one.peak(RAM).bytes ?? 0)
  );
  return h(
    'table',
    { class: 'mlguard-Ledger mlguard-Cells' },
    h('caption', { class: 'mlguard-hidden' }, trans.__('Cells by peak, GiB of this kernel')),
    h(
      'colgroup',
      {},
      h('col', { class: 'is-index' }),
      h('col'),
      h('col', { class: 'is-number' }),
      gpu && h('col', { class: 'is-number' }),
      h('col', { class: 'is-time not-narrow' })
    ),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', { scope: 'col' }, h('span', { class: 'mlguard-hidden' }, trans.__('number'))),
        h('th', { scope: 'col', class: 'is-name' }, trans.__('cell, GiB at peak')),
        h('th', { scope: 'col' }, 'RAM'),
        gpu && h('th', { scope: 'col' }, gpu.label),
        h('th', { scope: 'col', class: 'not-narrow' }, trans.__('time'))
      )
    ),
    h('tbody', {}, ...sorted.map(row => cellRow(row, gpu?.key ?? null, trans)))
  );
}

function cellRow(
  row: CellRow,
  gpu: string | null,
  trans: TranslationBundle
): HTMLElement {
  const view = row.view;
  const attempt =
    row.isRunning && view?.attempt && view.attemptsMax
      ? trans.__('attempt %1 of %2', view.attempt, view.attemptsMax)
      : '';
  return h(
    'tr',
    { 'data-key': String(row.number) },
    h('td', {}, String(row.number)),
    h(
      'th',
      { scope: 'row', class: 'is-name' },
      h(
        'span',
        { class: 'mlguard-who' },
        h(
          'button',
          {
            type: 'button',
            class: 'mlguard-link mlguard-cut',
            title: trans.__('Go to cell %1: %2', row.number, row.name),
            'data-do': 'jump',
            'data-with': row.number
          },
          row.name
        ),
        row.isGuarded && sign('guard', trans.__('guarded')),
        h('small', { class: 'only-wide' }, attempt)
      )
    ),
    h('td', {}, peak(row.peak(RAM), trans)),
    gpu !== null && h('td', {}, peak(row.peak(gpu), trans)),
    h('td', { class: 'not-narrow mlguard-value' }, time(row))
  );
}

function peak({ bytes, kind }: CellPeak, trans: TranslationBundle): HTMLElement {
  const shown = kind === 'exact' || bytes === null ? gib(bytes) : `~${gib(bytes)}`;
  return value(shown, trans.__('nobody looked while it ran'), trans);
}

function time(row: CellRow): string {
  if (row.isRunning) {
    return row.start === null ? '' : clockTime(Date.now() / 1000 - row.start);
  }
  return row.seconds === null ? '' : duration(row.seconds);
}
