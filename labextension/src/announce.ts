/** The one live region of the page, and its notifications: on crossings, losses and ends of cells, never on a tick. */

import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { h } from './dom';
import type { CellEnd, NotebookInFront } from './front';
import { LiveModel, shareOf, sharesMemory } from './model';
import type { Level } from './signs';
import { age, duration, gib, percent } from './words';

const BACK = 0.05;
const RANK: Record<Level, number> = { ok: 0, warning: 1, critical: 2 };

/** What a reader wants to be notified of: cells that took at least so many seconds (0: none), and full devices. */
export interface NoticeChoices {
  readonly cellSeconds: number;
  readonly thresholds: boolean;
}

export class Announcer implements IDisposable {
  constructor(
    private readonly model: LiveModel,
    private readonly front: NotebookInFront,
    private readonly trans: TranslationBundle
  ) {
    this._region = h('div', {
      class: 'mlguard-hidden mlguard-Announcer',
      role: 'status',
      'aria-live': 'polite'
    });
    document.body.append(this._region);
    model.changed.connect(this.listen, this);
    front.cellEnded.connect(this.ended, this);
  }

  choices: NoticeChoices = { cellSeconds: 60, thresholds: true };

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this.model.changed.disconnect(this.listen, this);
      this.front.cellEnded.disconnect(this.ended, this);
      this._region.remove();
    }
  }

  private listen(): void {
    const { model, trans } = this;
    if (model.isStale !== this._wasStale) {
      this._wasStale = model.isStale;
      this.say(
        model.isStale
          ? trans.__('Last sample %1 ago', age(model.age ?? 0))
          : trans.__('Live readings are back')
      );
    }
    for (const device of model.devices) {
      const share = shareOf(device);
      const key = `${model.host ?? ''} ${device.key}`; // the RAM of another machine is another device
      const label = model.host === null ? device.label : trans.__('%1 of %2', device.label, model.host);
      const isLost =
        device.gpu !== null && device.used.value === null && !sharesMemory(device);
      if (isLost !== (this._lost.get(key) ?? false)) {
        this._lost.set(key, isLost);
        this.say(
          isLost
            ? trans.__('%1 gives no reading: %2', label, device.used.reason ?? '')
            : trans.__('%1 is back', label)
        );
      }
      if (share !== null) {
        this.cross(key, label, share);
      }
    }
  }

  /** Once for each crossing; again only after the share has been five points below. */
  private cross(key: string, label: string, share: number): void {
    const { warning, critical } = this.model.thresholds;
    const spoken = this._spoken.get(key) ?? 'ok';
    const level: Level =
      share >= critical ? 'critical' : share >= warning ? 'warning' : 'ok';
    if (RANK[level] > RANK[spoken]) {
      this._spoken.set(key, level);
      const sentence = this.trans.__('%1 is at %2 of its limit', label, percent(share));
      this.say(sentence);
      if (this.choices.thresholds) {
        const before = this._notified.get(key);
        if (before !== undefined) {
          Notification.dismiss(before); // what it says is no longer so
        }
        const kind = level === 'critical' ? 'error' : 'warning';
        this._notified.set(key, Notification.emit(sentence, kind, { autoClose: 10_000 }));
      }
      return;
    }
    const floor = spoken === 'critical' ? critical : warning;
    if (RANK[level] < RANK[spoken] && share < floor - BACK) {
      this._spoken.set(key, level);
    }
  }

  private ended(_: unknown, { row, file, isInFront, isWell, goTo }: CellEnd): void {
    const { trans } = this;
    const seconds = row.seconds ?? 0;
    const peak = row.peak('ram').bytes;
    const ended = isWell
      ? trans.__('cell %1 ended after %2', row.number, duration(seconds))
      : trans.__('cell %1 failed after %2', row.number, duration(seconds));
    const sentence =
      peak === null ? ended : `${ended}, ${trans.__('peak RAM %1 GiB', gib(peak))}`;
    if (isInFront) {
      this.say(sentence);
    }
    if (this.choices.cellSeconds > 0 && seconds >= this.choices.cellSeconds) {
      Notification.emit(`${file}: ${sentence}`, isWell ? 'success' : 'error', {
        autoClose: 10_000,
        actions: [{ label: trans.__('Go to the cell'), callback: goTo }]
      });
    }
  }

  private say(sentence: string): void {
    this._region.textContent = sentence;
  }

  private _isDisposed = false;
  private _wasStale = false;
  private readonly _region: HTMLElement;
  private readonly _spoken = new Map<string, Level>();
  private readonly _notified = new Map<string, string>();
  private readonly _lost = new Map<string, boolean>();
}
