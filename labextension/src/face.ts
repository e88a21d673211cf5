/** The five rows below a guarded cell: the view as the kernel told it, with the server's live feed in them while it runs. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { bar, sparkline, value } from './bar';
import { h, patch, type Child } from './dom';
import { LiveModel, RAM } from './model';
import { sign, type Sign } from './signs';
import type { Stopper } from './stop';
import type { CellView, Span, ViewAttempt, ViewDevice } from './view';
import { age, clockTime, duration, gib, rounded, timeOfDay } from './words';

const DRAW_MILLISECONDS = 240;
const SILENT_SECONDS = 5;
const CURVE_WIDTH = 540;

/** What every face of a page draws with. */
export interface FaceTools {
  readonly model: LiveModel;
  readonly stopper: Stopper;
  readonly trans: TranslationBundle;
}

/** Draws in `node`, and with each sample again while the cell runs and `isSeen` says that somebody may look. */
export class ViewFace implements IDisposable {
  constructor(
    private readonly node: HTMLElement,
    private readonly isSeen: () => boolean,
    { model, stopper, trans }: FaceTools
  ) {
    this.model = model;
    this.stopper = stopper;
    this.trans = trans;
    this.node.addEventListener('click', this);
  }

  /** From now on this is what is drawn; null is nothing. */
  show(view: CellView | null): void {
    this._view = view;
    this._heardAt = performance.now();
    // Only a running cell follows the feed: what has ended is as the kernel stored it.
    this.model.changed.disconnect(this.soon, this);
    if (view?.isRunning) {
      this.model.changed.connect(this.soon, this);
    }
    this.draw();
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      window.clearTimeout(this._timer);
      this.model.changed.disconnect(this.soon, this);
      this.node.removeEventListener('click', this);
    }
  }

  handleEvent(event: Event): void {
    const pressed = event.target instanceof Element ? event.target.closest('[data-do]') : null;
    const action = pressed?.getAttribute('data-do');
    if (action === 'fold') {
      this._isOpen = !this._isOpen;
      this.draw();
    } else if (action === 'stop') {
      this._isStopping = true;
      this.draw();
      void this.stopper.stop(this.node);
    }
  }

  private soon(): void {
    if (!this._timer && this.isSeen() && !document.hidden) {
      this._timer = window.setTimeout(() => {
        this._timer = 0;
        this.draw();
      }, DRAW_MILLISECONDS);
    }
  }

  /** Draw what is known now. Only in the page does the view know which cell shows it. */
  draw(): void {
    const view = this._view;
    if (this.isDisposed || view === null) {
      return;
    }
    const isSilent = this.isSilent(view);
    this.node.classList.toggle('is-stale', isSilent);
    const rows = shownDevices(view).map(device => this.deviceRow(device, view, isSilent));
    const isFolded = view.attempts.length > 0 && !view.isRunning;
    const canStop = view.isRunning && this.stopper.canStop(this.node);
    const hadFocus = document.activeElement?.getAttribute('data-do') === 'stop' && this.node.contains(document.activeElement);
    patch(this.node, [
      h(
        'div',
        { class: 'mlguard-View-rows', role: 'group', 'aria-label': view.sentence, tabindex: -1 },
        this.headline(view, isSilent),
        canStop ? this.stopper.button(this._isStopping) : null,
        ...rows,
        ...(rows.length < 2 ? [this.noGpu(view)] : []),
        ...(isFolded && !view.happened.length && !view.notes ? [] : [this.happened(view)]),
        isFolded ? this.fold(view) : h('div', { class: 'mlguard-View-row', title: plain(view.next) }, ...this.next(view, isSilent))
      ),
      isFolded && this._isOpen ? this.attempts(view) : h('div', {})
    ]);
    if (hadFocus && !canStop) {
      // The button is gone: the focus stays here, on the sentence that says how the cell ended.
      this.node.querySelector<HTMLElement>('.mlguard-View-rows')?.focus({ preventScroll: true });
    }
  }

  /** The kernel's updates have stopped, and the server has gone too: nobody knows how the cell fares. */
  private isSilent(view: CellView): boolean {
    return view.isRunning && this.model.isStale && this.silence > SILENT_SECONDS;
  }

  private get silence(): number {
    return (performance.now() - this._heardAt) / 1000;
  }

  private headline(view: CellView, isSilent: boolean): HTMLElement {
    const { trans } = this;
    const isBehind = view.outcome === 'running' && view.elapsed !== null && this.silence > 1;
    const spans = view.headline.map(([style, text], index): Span => {
      if (style === 'strong' && index === 0 && isSilent) {
        return [style, trans.__('no reading for %1', age(this.silence))];
      }
      if (style === 'strong' && index === 0 && isBehind) {
        return [style, trans.__('running %1', clockTime((view.elapsed ?? 0) + this.silence))];
      }
      return style === 'quiet' && this.isLive(view)
        ? [style, ` · ${trans.__('as of %1', timeOfDay(this.model.sample?.wall ?? 0))}`]
        : [style, text];
    });
    return h(
      'div',
      { class: 'mlguard-View-row', title: plain(spans) },
      sign(isSilent ? 'stale' : (SIGNS.get(view.sign) ?? 'waiting'), undefined, 12),
      ...spans.map(styled)
    );
  }

  /** Whether the server's numbers are newer than the kernel's. */
  private isLive(view: CellView): boolean {
    const wall = this.model.sample?.wall ?? 0;
    return view.isRunning && !this.model.isStale && wall > (view.asOfWall ?? 0);
  }

  private deviceRow(device: ViewDevice, view: CellView, isSilent: boolean): HTMLElement {
    const { model, trans } = this;
    const live = this.isLive(view) ? model.devices.find(other => other.key === device.key) : undefined;
    const used = live?.used.value ?? (view.isRunning ? device.used : (device.peakUsed ?? device.used));
    const limit = device.limit ?? live?.limit.value ?? null;
    const told = view.isRunning ? device.own : (device.peak ?? device.own);
    const own = told ?? (view.isRunning ? model.parts(device.key).own : null);
    const parts = {
      own,
      notebooks: 0,
      processes: used === null ? null : Math.max(0, used - (own ?? 0))
    };
    const seconds = live ? (model.forecast(device.key, device.stop)?.seconds ?? null) : null;
    const line = live ? model.readings(device.key, 60) : device.line;
    return h(
      'div',
      { class: 'mlguard-View-row mlguard-View-device', 'data-key': device.key },
      h('span', {}, device.label),
      bar({ label: device.label, used, limit, stop: device.stop, parts }, model.thresholds, trans),
      h(
        'span',
        { class: 'mlguard-number' },
        h('b', { class: 'mlguard-strong' }, value(gib(used), device.reason, trans)),
        limit === null ? '' : ` ${trans.__('of %1 GiB', gib(limit))}`
      ),
      this.note(device, seconds, isSilent),
      used !== null && h('span', { class: 'mlguard-number mlguard-quiet' }, own === null ? '' : trans.__('%1 here', gib(own))),
      line.length > 1 ? sparkline(line, limit, 94, 16, { hasDot: view.isRunning }) : null
    );
  }

  private note(device: ViewDevice, seconds: number | null, isSilent: boolean): HTMLElement {
    const { trans } = this;
    if (isSilent) {
      return h('span', { class: 'mlguard-quiet mlguard-cut' }, trans.__('%1 ago', age(this.silence)));
    }
    if (device.used === null && device.reason !== null) {
      return h('span', { class: 'mlguard-View-reason mlguard-quiet mlguard-cut', title: device.note }, device.note);
    }
    if (seconds !== null && device.stop !== null) {
      return h('b', { class: 'mlguard-strong mlguard-cut' }, trans.__('stop %1 in about %2', gib(device.stop), rounded(seconds)));
    }
    const name = device.isNoteStrong ? 'mlguard-strong mlguard-cut' : 'mlguard-quiet mlguard-cut';
    return h(device.isNoteStrong ? 'b' : 'span', { class: name, title: device.note }, device.note);
  }

  /** What a machine never had is one quiet line; without any device nothing is known of that either. */
  private noGpu(view: CellView): HTMLElement {
    const told = view.devices.length ? [h('span', {}, 'GPU'), h('span', { class: 'mlguard-quiet' }, this.trans.__('no GPU on this machine'))] : [];
    return h('div', { class: 'mlguard-View-row mlguard-View-none' }, ...told);
  }

  private happened(view: CellView): HTMLElement {
    const notes = view.happened.length && view.notes ? ` · ${view.notes}` : view.notes;
    return h('div', { class: 'mlguard-View-row', title: plain(view.happened) + notes }, ...view.happened.map(styled), styled(['quiet', notes]));
  }

  private next(view: CellView, isSilent: boolean): readonly Child[] {
    const { trans } = this;
    if (isSilent) {
      return [trans.__('The cell may still be running: the connection to the server was lost.')];
    }
    return view.isRunning && this._isStopping
      ? [trans.__('The kernel was interrupted. Compiled code that takes no notice has to return first.')]
      : view.next.map(styled);
  }

  /** The next step stays in sight: it is what the fold opens by. */
  private fold(view: CellView): HTMLElement {
    const name = this.trans.__('Attempts and curve');
    return h(
      'button',
      { type: 'button', class: 'mlguard-View-fold', title: plain(view.next) || null, 'data-do': 'fold', 'aria-expanded': String(this._isOpen) },
      sign(this._isOpen ? 'open' : 'closed'),
      h('span', { class: 'mlguard-cut' }, ...view.next.map(styled), view.next.length ? styled(['quiet', ` · ${name}`]) : name)
    );
  }

  private attempts(view: CellView): HTMLElement {
    const { trans } = this;
    const row = (number: string, seconds: number | null, outcome: Child, told = ''): HTMLElement =>
      h(
        'tr',
        {},
        h('th', { scope: 'row' }, number),
        h('td', { class: 'mlguard-number' }, seconds === null ? '' : duration(seconds)),
        h('td', {}, outcome),
        h('td', {}, told)
      );
    const rows = view.attempts.flatMap(attempt => [
      row(String(attempt.number), attempt.seconds, attempt.outcome, this.told(attempt, view)),
      ...(attempt.waited === null ? [] : [row('', attempt.waited, h('span', { class: 'mlguard-quiet' }, trans.__('waited')))])
    ]);
    return h(
      'div',
      { class: 'mlguard-View-more' },
      h('table', { class: 'mlguard-View-attempts' }, h('caption', { class: 'mlguard-hidden' }, trans.__('Attempts')), h('tbody', {}, ...rows)),
      ...this.curve(view)
    );
  }

  /** How an attempt ended: its error and where, or the names that it gave. */
  private told(attempt: ViewAttempt, view: CellView): string {
    const { trans } = this;
    if (attempt.error === null) {
      return attempt.outcome === 'finished' && view.bound.length ? trans.__('gave %1', view.bound.join(', ')) : '';
    }
    const error = attempt.message ? `${attempt.error}: ${attempt.message}` : attempt.error;
    return attempt.line === null ? error : `${error}, ${trans.__('line %1', attempt.line)}`;
  }

  /** The whole run of the device that matters most, with a mark where an attempt failed. */
  private curve(view: CellView): readonly Child[] {
    const device = [...shownDevices(view)].reverse().find(({ line }) => line.length > 1);
    if (device === undefined) {
      return [];
    }
    const marks: number[] = [];
    let at = 0;
    for (const attempt of view.attempts) {
      at += attempt.seconds ?? 0;
      if (attempt.outcome === 'failed') {
        marks.push(at);
      }
      at += attempt.waited ?? 0;
    }
    const highest = Math.max(...device.line.map(([, used]) => used ?? 0));
    return [
      sparkline(device.line, device.limit, CURVE_WIDTH, 52, { hasDot: false, marks }),
      h(
        'p',
        { class: 'mlguard-View-axis mlguard-quiet' },
        h('span', {}, '0 s'),
        h('span', {}, `${duration(view.elapsed ?? 0)}, ${device.label} ${gib(highest)} GiB`)
      )
    ];
  }

  private readonly model: LiveModel;
  private readonly stopper: Stopper;
  private readonly trans: TranslationBundle;
  private _view: CellView | null = null;
  private _heardAt = 0;
  private _isOpen = false;
  private _isStopping = false;
  private _timer = 0;
  private _isDisposed = false;
}

/** RAM, and the device with the least room below its stop (or its memory). */
function shownDevices(view: CellView): readonly ViewDevice[] {
  const urgency = ({ used, stop, limit }: ViewDevice): number => (used ?? 0) / (stop ?? limit ?? Infinity);
  const gpus = view.devices.filter(device => device.key !== RAM);
  const most = gpus.reduce<ViewDevice | null>(
    (first, other) => (first === null || urgency(other) > urgency(first) ? other : first),
    null
  );
  const ram = view.devices.find(device => device.key === RAM);
  return [ram, most].filter(device => device != null);
}

function plain(spans: readonly Span[]): string {
  return spans.map(([, text]) => text).join('');
}

function styled([style, text]: Span): Child {
  return style === 'code'
    ? h('code', {}, text)
    : h('span', { class: style === 'strong' || style === 'quiet' ? `mlguard-${style}` : null }, text);
}

/** The signs of the kernel's words; a stop is an octagon, an error of the cell's own a cross. */
const SIGNS: ReadonlyMap<string, Sign> = new Map([
  ['running', 'running'],
  ['waiting', 'pause'],
  ['ok', 'done'],
  ['warning', 'warning'],
  ['stop', 'critical'],
  ['failed', 'cross'],
  ['interrupted', 'square']
]);
