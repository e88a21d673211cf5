/** The status bar item: used of limit, a sign when it matters, the last minute as a line. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';
import { sparkline } from './bar';
import { h, patch, type Child } from './dom';
import { Device, LiveModel, shareOf, sharesMemory } from './model';
import { sign } from './signs';
import type { Forecast } from './forecast';
import { age, DASH, doubt, gib, percent, rounded, shortGib } from './words';

const SOON_SECONDS = 600; // a later end is said in the panel alone

export class StatusItem extends Widget {
  constructor(
    private readonly model: LiveModel,
    private readonly trans: TranslationBundle,
    private readonly open: () => void
  ) {
    super({ node: h('button', { type: 'button' }) });
    this.addClass('mlguard');
    this.addClass('mlguard-Status');
    this.node.addEventListener('click', this);
    model.changed.connect(this.later, this);
  }

  /** Whether a reader wants the item; the status bar shows and hides it itself. */
  get isWanted(): boolean {
    return this._isWanted;
  }

  set isWanted(isWanted: boolean) {
    this._isWanted = isWanted;
    this._wantedChanged.emit();
  }

  get wantedChanged(): ISignal<this, void> {
    return this._wantedChanged;
  }

  handleEvent(): void {
    this.open();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.node.removeEventListener('click', this);
      super.dispose();
    }
  }

  protected override onAfterAttach(): void {
    this.draw();
  }

  /** Once a second, with the first that is heard in it: the panel draws then too, and the browser makes one frame. */
  private later(): void {
    const second = Math.floor(Date.now() / 1000);
    if (!document.hidden && !(this._isDrawn && second === this._second)) {
      this._second = second;
      queueMicrotask(() => this.draw());
    }
  }

  private draw(): void {
    if (this.isDisposed) {
      return;
    }
    const { model, trans } = this;
    this._isDrawn = model.sample !== null;
    const title = this.reason() ?? this.forecasts() ?? trans.__('Open the GPU and memory panel');
    if (title !== this.node.title) {
      this.node.title = title;
    }
    if (model.sample === null) {
      const text =
        model.connection === 'missing'
          ? trans.__('GPU and memory: not running')
          : trans.__('GPU and memory');
      patch(this.node, [h('span', {}, text)]);
      return;
    }
    const gpu = this.fullest();
    const devices = model.devices;
    const ram = devices[devices.length - 1];
    const shown = [gpu, ram].filter((device): device is Device => !!device);
    const levels = shown.map(device => model.level(device));
    const level = levels.includes('critical')
      ? 'critical'
      : levels.includes('warning')
        ? 'warning'
        : 'ok';
    const mark = model.isStale
      ? 'stale'
      : gpu !== null && gpu.used.value === null
        ? 'critical'
        : level;
    const main = gpu ?? ram;
    const parts: Child[] = shown.flatMap((device, index) => [
      index ? ' · ' : null,
      ...this.device(device)
    ]);
    patch(this.node, [
      h('span', { class: 'mlguard-StatusSign' }, mark !== 'ok' && sign(mark)),
      h(
        'span',
        { class: 'mlguard-StatusText' },
        ...parts,
        model.isStale && ` · ${trans.__('%1 ago', age(model.age ?? 0))}`
      ),
      ...(main && !model.isStale && main.used.value !== null
        ? [sparkline(model.readings(main.key, 60), main.limit.value, 44, 14)]
        : [])
    ]);
  }

  /** The GPU nearest its limit among those that this notebook may use. */
  private fullest(): Device | null {
    const visible = this.model.kernel?.visible;
    const gpus = this.model.devices.filter(
      device =>
        device.gpu !== null &&
        !sharesMemory(device) &&
        (!visible || visible.includes(device.key))
    );
    return (
      [...gpus].sort(
        (one, other) => (shareOf(other) ?? -1) - (shareOf(one) ?? -1)
      )[0] ?? null
    );
  }

  private device(device: Device): Child[] {
    const { model, trans } = this;
    const gpus = model.devices.filter(other => other.gpu !== null);
    const label = device.gpu && gpus.length === 1 ? 'GPU' : device.label;
    const amount = `${usedText(device)}/${shortGib(device.limit.value)} GiB`;
    const level = model.level(device);
    const coming = this.soon(device);
    return [
      `${label} `,
      level === 'ok'
        ? amount
        : h('b', { class: 'mlguard-strong' }, `${amount} ${percent(shareOf(device))}`),
      coming !== null && `, ${trans.__('full in about %1', rounded(coming.seconds))}`,
      level !== 'ok' &&
        device.gpu !== null &&
        gpus.length > 1 &&
        `, ${trans.__('fullest of %1', gpus.length)}`
    ];
  }

  /** When a device is full, where that is steady and near enough to matter. */
  private soon(device: Device): Forecast | null {
    const coming = this.model.forecast(device.key);
    return coming !== null && coming.seconds <= SOON_SECONDS ? coming : null;
  }

  /** How sure the forecasts are, in words. */
  private forecasts(): string | null {
    const { model, trans } = this;
    const told = model.devices.flatMap(device => {
      const coming = this.soon(device);
      const range = coming && doubt(coming, trans);
      return coming === null
        ? []
        : range
          ? trans.__('%1: full in about %2, likely %3', device.label, rounded(coming.seconds), range)
          : trans.__('%1: full in about %2', device.label, rounded(coming.seconds));
    });
    return told.length ? told.join('; ') : null;
  }

  private reason(): string | null {
    const missing = this.model.devices.find(
      device => device.used.value === null
    );
    return missing
      ? `${missing.label}: ${missing.used.reason ?? this.trans.__('no sample yet')}`
      : null;
  }

  private _second = 0;
  private _isDrawn = false;
  private _isWanted = true;
  private readonly _wantedChanged = new Signal<this, void>(this);
}

function usedText(device: Device): string {
  const used = device.used.value;
  if (used === null) {
    return DASH;
  }
  return used >= 100 * 2 ** 30 ? shortGib(used) : gib(used);
}
