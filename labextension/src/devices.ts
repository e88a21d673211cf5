/** The devices at the top of the panel: a block for one GPU, a table for several, RAM below them. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { bar, sparkline, value } from './bar';
import { h, memo, type Child } from './dom';
import { CellRow, stopOf } from './front';
import { Device, LiveModel, RAM, shareOf } from './model';
import { sign } from './signs';
import { doubt, gib, percent, rounded, timeOfDay } from './words';

/** What the devices need to know besides the model; `edition` names what follows the readings once a second. */
export interface DeviceContext {
  readonly model: LiveModel;
  readonly trans: TranslationBundle;
  readonly chosen: string;
  readonly isWide: boolean;
  readonly edition: string;
  readonly running: CellRow | null;
}

/** Everything that can be seen of each device, by its key: only what a busy one shows is made again. */
export function deviceEditions(context: DeviceContext): ReadonlyMap<string, string> {
  return new Map(context.model.devices.map(device => [device.key, deviceEdition(device, context)]));
}

/** Everything above the chart. */
export function deviceBlocks(context: DeviceContext, editions: ReadonlyMap<string, string>): Child[] {
  const { model, trans, edition } = context;
  const devices = model.devices;
  const gpus = devices.filter(device => device.gpu !== null);
  const ram = devices.find(device => device.key === RAM);
  const reason = model.sample?.gpus_reason ?? null;
  const kept = (device: Device): HTMLElement =>
    memo('div', device.key, editions.get(device.key) ?? '', () => block(device, context));
  return [
    ...(gpus.length > 1 ? gpuTable(gpus, context, editions) : gpus.map(kept)),
    ram ? kept(ram) : null,
    reason !== null &&
      memo('p', 'reason', reason, () =>
        h(
          'p',
          { class: 'mlguard-Device mlguard-quiet mlguard-small' },
          trans.__('GPU: %1.', reason.replace(/\.$/, '')),
          ' ',
          trans.__('More: '),
          h('code', {}, 'mlguard-nb doctor'),
          '.'
        )
      ),
    memo('div', 'forecast', edition, () => forecastLine(context))
  ];
}

/** "16.3 of 80.0 GiB" with its bar and facts. */
function block(device: Device, context: DeviceContext): HTMLElement {
  const { model, trans } = context;
  const level = model.level(device);
  return h(
    'div',
    { class: 'mlguard-Device' },
    h(
      'div',
      { class: 'mlguard-Device-line' },
      h('span', { class: 'mlguard-strong' }, device.label),
      level !== 'ok' &&
        h(
          'span',
          { class: 'mlguard-Level' },
          sign(level),
          ' ',
          percent(shareOf(device))
        ),
      h(
        'span',
        { class: 'mlguard-number' },
        h(
          'span',
          { class: 'mlguard-strong' },
          value(gib(device.used.value), device.used.reason, trans)
        ),
        ' ',
        trans.__('of'),
        ' ',
        value(gib(device.limit.value), device.limit.reason, trans),
        ' GiB'
      )
    ),
    deviceBar(device, context),
    h(
      'div',
      { class: 'mlguard-Device-facts mlguard-value' },
      ...(device.gpu ? gpuFacts(device, trans) : [ramFact(context)])
    )
  );
}

function deviceBar(device: Device, context: DeviceContext): HTMLElement {
  const { model, trans, running } = context;
  return bar(
    {
      label: device.label,
      used: device.used.value,
      limit: device.limit.value,
      stop: stopOf(running, device.key),
      parts: model.parts(device.key)
    },
    model.thresholds,
    trans
  );
}

function gpuFacts(device: Device, trans: TranslationBundle): Child[] {
  const { gpu, lost } = device;
  if (gpu === null) {
    return [];
  }
  if (lost) {
    return [
      h('span', { class: 'mlguard-quiet' }, trans.__('last reading %1 GiB at %2', gib(lost.used), timeOfDay(lost.wall)))
    ];
  }
  const { utilisation, temperature, power, power_limit } = gpu;
  const name = gpu.name.replace(/^NVIDIA /, '');
  return [
    h(
      'span',
      {},
      trans.__('util'),
      ' ',
      value(percent(utilisation.value), utilisation.reason, trans)
    ),
    h('span', {}, value(whole(temperature.value), temperature.reason, trans), ' °C'),
    h(
      'span',
      { class: 'not-narrow' },
      value(whole(power.value), power.reason, trans),
      power_limit.value === null
        ? ' W'
        : ' ' + trans.__('of %1 W', whole(power_limit.value))
    ),
    h(
      'span',
      { class: 'mlguard-cut mlguard-quiet not-narrow', title: gpu.name },
      name
    )
  ];
}

function ramFact({ model, trans }: DeviceContext): HTMLElement {
  return h(
    'span',
    { class: 'mlguard-quiet' },
    model.sample?.ram.source === 'container'
      ? trans.__('limit of the container')
      : trans.__('limit of the machine')
  );
}

/** Several GPUs are one tab stop: arrows choose the row, the chart follows. */
function gpuTable(
  gpus: readonly Device[],
  context: DeviceContext,
  editions: ReadonlyMap<string, string>
): Child[] {
  const { trans, edition } = context;
  const heads: [string, string][] = [
    ['', trans.__('GPU')],
    ['is-level', ''],
    ['is-bar', trans.__('memory')],
    ['', 'GiB'],
    ['only-wide', trans.__('of')],
    ['', trans.__('util')],
    ['not-narrow', '°C'],
    ['only-wide', 'W'],
    ['only-wide', '60 s']
  ];
  return [
    memo('p', 'kinds', edition, () =>
      h('p', { class: 'mlguard-Lead mlguard-quiet mlguard-small' }, kinds(gpus, context))
    ),
    h(
      'table',
      { class: 'mlguard-Devices', 'data-key': 'gpus' },
      memo('caption', 'gpus-name', '', () => h('caption', { class: 'mlguard-hidden' }, trans.__('GPUs'))),
      memo('thead', 'gpus-head', '', () =>
        h('thead', {}, h('tr', {}, ...heads.map(([name, word]) => h('th', { scope: 'col', class: name || null }, word))))
      ),
      h(
        'tbody',
        { 'data-key': 'gpus-body' },
        ...gpus.map(device => memo('tr', device.key, editions.get(device.key) ?? '', () => gpuRow(device, context)))
      )
    )
  ];
}

function deviceEdition(device: Device, context: DeviceContext): string {
  const { model, chosen, isWide, edition, running } = context;
  const { used, limit, gpu, label, lost } = device;
  const { own, notebooks, processes } = model.parts(device.key);
  const shown = [used, limit, gpu?.utilisation, gpu?.temperature, gpu?.power];
  return JSON.stringify([
    label,
    [gpu?.name, lost?.used, lost?.wall, gpu === null && model.sample?.ram.source],
    device.key === chosen,
    model.level(device),
    percent(shareOf(device)),
    model.thresholds,
    stopOf(running, device.key),
    [own, notebooks, processes].map(gib),
    [gib(used.value), gib(limit.value), percent(gpu?.utilisation.value ?? null)],
    [gpu?.temperature, gpu?.power, gpu?.power_limit].map(measured => whole(measured?.value ?? null)),
    shown.map(measured => measured?.reason),
    isWide && edition
  ]);
}

function gpuRow(device: Device, context: DeviceContext): HTMLElement {
  const { model, trans, chosen, isWide } = context;
  const gpu = device.gpu;
  const level = model.level(device);
  const isChosen = device.key === chosen;
  const label = gpu && !gpu.mig ? String(gpu.index) : device.label;
  return h(
    'tr',
    { 'aria-current': isChosen ? 'true' : null },
    h(
      'th',
      { scope: 'row' },
      h(
        'button',
        {
          type: 'button',
          class: 'mlguard-link mlguard-plain',
          tabindex: isChosen ? 0 : -1,
          'data-do': 'choose',
          'data-with': device.key,
          'aria-label': device.label
        },
        label
      )
    ),
    h(
      'td',
      { class: 'is-level' },
      level !== 'ok' &&
        sign(level, `${trans.__(level)}, ${percent(shareOf(device))}`)
    ),
    h('td', { class: 'is-bar' }, deviceBar(device, context)),
    h('td', { class: 'mlguard-strong' }, value(gib(device.used.value), device.used.reason, trans)),
    h('td', { class: 'only-wide' }, value(gib(device.limit.value), device.limit.reason, trans)),
    h('td', {}, value(percent(gpu?.utilisation.value ?? null), gpu?.utilisation.reason ?? null, trans)),
    h('td', { class: 'not-narrow' }, value(whole(gpu?.temperature.value ?? null), gpu?.temperature.reason ?? null, trans)),
    h('td', { class: 'only-wide' }, value(whole(gpu?.power.value ?? null), gpu?.power.reason ?? null, trans)),
    h('td', { class: 'only-wide' }, isWide && sparkline(model.readings(device.key, 60), device.limit.value, 48, 14))
  );
}

/** "8 × A100-SXM4-80GB, 80.0 GiB each. This notebook may use GPU 0." */
function kinds(gpus: readonly Device[], context: DeviceContext): string {
  const { model, trans } = context;
  const named = gpus.map(device =>
    trans.__(
      '%1, %2 GiB',
      (device.gpu?.name ?? '').replace(/^NVIDIA /, ''),
      gib(device.limit.value)
    )
  );
  const first = named[0] ?? '';
  const cards = new Set(gpus.map(device => (device.gpu?.name ?? '').replace(/^NVIDIA /, '').replace(/ MIG .*/, '')));
  const sentence = gpus.every(device => device.gpu?.mig)
    ? trans.__('%1, cut into %2 MIG slices.', Array.from(cards).join(', '), gpus.length)
    : named.every(name => name === first)
      ? trans.__('%1 × %2 each.', String(gpus.length), first)
      : trans.__('%1 devices.', String(gpus.length));
  const visible = model.kernel?.visible;
  if (!visible) {
    return sentence;
  }
  const labels = gpus
    .filter(device => visible.includes(device.key))
    .map(device => device.label);
  return `${sentence} ${
    labels.length
      ? trans.__('This notebook may use %1.', labels.join(', '))
      : trans.__('This notebook may use none of them.')
  }`;
}

/** The one line that says when a steady rise reaches its end; its place is kept when there is nothing to say. */
function forecastLine({ model, trans, running }: DeviceContext): HTMLElement {
  const coming = model.devices.flatMap(device => {
    const stop = stopOf(running, device.key);
    const forecast = model.forecast(device.key, stop);
    return forecast === null ? [] : [{ device, stop, forecast }];
  });
  const next = coming.sort((one, other) => one.forecast.seconds - other.forecast.seconds)[0];
  if (next === undefined) {
    return h('div', { class: 'mlguard-Forecast' });
  }
  const { device, stop, forecast } = next;
  const about = rounded(forecast.seconds);
  const range = doubt(forecast, trans);
  const sentence =
    stop !== null && running !== null
      ? trans.__('%1: cell %2 stops in about %3', device.label, running.number, about)
      : trans.__('%1: full in about %2', device.label, about);
  const title = trans.__(
    '%1 rises steadily and reaches %2 GiB in about %3; by its last 20 s, likely in %4',
    device.label,
    gib(stop ?? device.limit.value),
    about,
    range || about
  );
  return h(
    'div',
    { class: 'mlguard-Forecast', title },
    sign('rise'),
    h('p', {}, h('span', { class: 'mlguard-cut' }, sentence), ' ', range && h('span', { class: 'mlguard-quiet' }, `(${range})`))
  );
}

function whole(number: number | null): string {
  return number === null ? '–' : number.toFixed(0);
}
