/** The panel on the right: devices, the last minutes, who holds it, the cells. Draws the model and owns nothing else. */

import { Clipboard } from '@jupyterlab/apputils';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { chart, ChartContent, chartTable } from './chart';
import { deviceBlocks, deviceEditions, type DeviceContext } from './devices';
import { h, memo, patch, type Child } from './dom';
import { CellRow, mainDevice, NotebookInFront, stopOf } from './front';
import { cellTable, ledger, ledgerTable, type Ledger } from './ledger';
import { LiveModel, sharesMemory } from './model';
import { notices } from './notices';
import { sign } from './signs';
import type { Stream } from './stream';
import { timeOfDay } from './words';

const DRAW_MILLISECONDS = 220; // samples come every 250, now and then a little early
const WIDE_PIXELS = 420;

/** What the panel may ask the application for. */
export interface PanelActions {
  open(path: string): void;
  menu(event: MouseEvent): void;
  save(format: 'csv' | 'json'): void;
  release(kernelId: string): void;
}

/** What a reader chose; kept in the settings. */
export interface PanelChoices {
  readonly historyView: 'chart' | 'table';
  readonly historyMinutes: number;
  readonly showOthers: boolean;
  readonly interval: number | null;
}

export class GuardPanel extends Widget {
  constructor(private readonly parts: PanelParts) {
    super();
    this.id = 'mlguard-panel';
    this.addClass('mlguard');
    this.addClass('mlguard-Panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', parts.trans.__('GPU and memory'));
    this.node.addEventListener('click', this);
    this.node.addEventListener('keydown', this);
    parts.model.changed.connect(this.soon, this);
    parts.front.changed.connect(this.tell, this);
    parts.front.changed.connect(this.renew, this);
    this._resize = new ResizeObserver(() => {
      this._width = this.node.clientWidth; // here the page is laid out; when something is drawn, asking would lay it out
      this.renew();
    });
    this._resize.observe(this.node);
  }

  get choices(): PanelChoices {
    return this._choices;
  }

  set choices(choices: PanelChoices) {
    this._choices = choices;
    this.renew();
  }

  /** The device that the chart shows. */
  get chosen(): string {
    return (
      this.parts.model.device(
        this._chosen ??
          mainDevice(
            this.parts.model.devices.filter(device => !sharesMemory(device)).map(device => device.key)
          )
      )?.key ?? 'ram'
    );
  }

  handleEvent(event: Event): void {
    const target = event.target instanceof Element ? event.target : null;
    const button = target?.closest<HTMLElement>('[data-do]');
    if (event instanceof KeyboardEvent) {
      this.arrow(event, button ?? null);
    } else if (button && event instanceof MouseEvent) {
      this.act(button.dataset.do ?? '', button.dataset.with ?? '', event);
    }
  }

  override dispose(): void {
    if (!this.isDisposed) {
      window.clearTimeout(this._timer);
      this._resize.disconnect();
      this.node.removeEventListener('click', this);
      this.node.removeEventListener('keydown', this);
      super.dispose();
    }
  }

  /** Remember choices in `settings` from now on. */
  keep(settings: ISettingRegistry.ISettings): void {
    this._settings = settings;
  }

  /** Say to the server how closely this page looks. */
  tell(): void {
    const { interval, historyMinutes } = this.choices;
    this.parts.stream.watch(this.isVisible, interval, this.isVisible ? historyMinutes * 60 : null);
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._width = this.node.clientWidth;
    this.tell();
    this.update();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.tell();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._width = this.node.clientWidth;
    this.tell();
    this.update();
  }

  protected override onUpdateRequest(): void {
    this.draw();
  }

  /** Something else than the readings has changed: every part is drawn anew. */
  private renew(): void {
    this._changes += 1;
    this.soon();
  }

  /** Names what the slow parts were drawn from: they follow the readings once a second, the devices four times. */
  private get edition(): string {
    const { model } = this.parts;
    const second = Math.floor(Date.now() / 1000);
    return [second, this._changes, model.connection, model.isStale, model.sample === null].join(' ');
  }

  /** A chart moves by whole pixels: of ten minutes in a narrow panel, one every two seconds. */
  private chartEdition({ device, seconds, width, stop }: ChartContent): string {
    const { model } = this.parts;
    const step = Math.floor(Date.now() / 1000 / Math.max(1, seconds / width));
    return [step, this._changes, device.key, width, stop, device.lost?.wall, model.points.length === 0].join(' ');
  }

  /** With what is heard now, but at most four times a second, and not while hidden. */
  private soon(): void {
    if (!this.isVisible || document.hidden || this._isDue) {
      return;
    }
    this._isDue = true;
    const wait = this._drawnAt + DRAW_MILLISECONDS - performance.now();
    if (wait <= 0) {
      queueMicrotask(() => this.draw());
    } else {
      this._timer = window.setTimeout(() => this.draw(), wait);
    }
  }

  /** Where nothing that can be seen has changed nothing is touched: the browser then has no frame to make. */
  private draw(): void {
    this._isDue = false;
    if (this.isDisposed || !this.isVisible) {
      return;
    }
    this._drawnAt = performance.now();
    const { model, trans, front } = this.parts;
    const edition = this.edition;
    if (edition !== this._edition) {
      this._edition = edition;
      this._rows = front.rows;
      this._ledger = ledger(model, trans, this.choices.showOthers, (kernel, wall) => front.fresh(kernel, wall));
    }
    const context: DeviceContext = {
      model,
      trans,
      chosen: this.chosen,
      isWide: this._width >= WIDE_PIXELS,
      edition,
      running: this._rows.find(row => row.isRunning) ?? null
    };
    const editions = deviceEditions(context);
    const drawn = [edition, ...editions.values()].join('\n');
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    this.toggleClass('is-stale', model.isStale);
    patch(this.node, [
      memo('div', 'header', '', () => this.header()),
      memo('div', 'message', edition, () => h('div', { class: 'mlguard-Panel-message' }, ...notices(model, trans))),
      ...(model.sample === null ? [] : this.live(context, editions)),
      ...this.cells(),
      memo('div', 'foot', this.foot(), () => h('div', { class: 'mlguard-Foot' }, h('span', {}, this.foot())))
    ]);
  }

  private header(): HTMLElement {
    const { trans } = this.parts;
    return h(
      'div',
      { class: 'mlguard-Panel-header' },
      h('span', {}, trans.__('GPU and memory')),
      h(
        'button',
        {
          type: 'button',
          class: 'mlguard-push',
          'data-do': 'menu',
          'aria-label': trans.__('Settings and help'),
          'aria-haspopup': 'menu'
        },
        sign('more')
      )
    );
  }

  private live(context: DeviceContext, editions: ReadonlyMap<string, string>): Node[] {
    const { model, trans } = this.parts;
    const device = model.device(context.chosen);
    const content: ChartContent | null = device && {
      device,
      seconds: this.choices.historyMinutes * 60,
      width: Math.max(180, this._width - 18),
      stop: stopOf(context.running, device.key),
      cells: this._rows
    };
    return [
      h('div', { class: 'mlguard-DeviceList', 'data-key': 'devices' }, ...deviceBlocks(context, editions)),
      ...this.section('history', this.historyTitle(), () => this.historyButtons(), () =>
        content === null
          ? []
          : this.choices.historyView === 'table'
            ? [chartTable(content, model, trans)]
            : [this.key(content), chart(content, model, trans)],
        content === null ? '' : this.chartEdition(content)
      ),
      ...this.section('ledger', trans.__('Who holds it'), () => [], () => [ledgerTable(this._ledger, trans)], JSON.stringify(this._ledger))
    ];
  }

  private cells(): Node[] {
    const { model, trans, front } = this.parts;
    const rows = this._rows;
    if (front.panel === null) {
      return [];
    }
    return this.section('cells', trans.__('Cells of %1', front.name), () => [], () =>
      rows.length
        ? [
            model.sample === null && this.lead('mlguard-small', trans.__('From the outputs stored in the notebook.')),
            cellTable(rows, model.devices, trans)
          ]
        : [this.lead('', trans.__('No cell has run here yet.'))]
    );
  }

  private lead(name: string, sentence: string): HTMLElement {
    return h('p', { class: `mlguard-Lead mlguard-quiet ${name}`.trim() }, sentence);
  }

  private section(
    key: string,
    title: string,
    buttons: () => Child[],
    body: () => Child[],
    edition = this._edition
  ): Node[] {
    const isOpen = !this._closed.has(key);
    return [
      memo('div', `${key}-heading`, `${title} ${this._changes}`, () =>
        h(
          'div',
          { class: 'mlguard-Heading' },
          h(
            'h3',
            {},
            h(
              'button',
              { type: 'button', 'aria-expanded': String(isOpen), 'data-do': 'fold', 'data-with': key, title },
              sign(isOpen ? 'open' : 'closed'),
              h('span', { class: 'mlguard-cut' }, title)
            )
          ),
          ...buttons()
        )
      ),
      memo('div', key, `${edition} ${String(isOpen)}`, () =>
        h('div', { class: 'mlguard-Section' }, ...(isOpen ? body() : []))
      )
    ];
  }

  private historyTitle(): string {
    const { model, trans } = this.parts;
    const minutes = this.choices.historyMinutes;
    const label = model.device(this.chosen)?.label ?? '';
    return model.devices.length > 2
      ? trans.__('%1, last %2 minutes', label, minutes)
      : trans.__('Last %1 minutes', minutes);
  }

  private historyButtons(): Child[] {
    const { trans } = this.parts;
    const as = (view: 'chart' | 'table', word: string): HTMLElement =>
      h(
        'button',
        {
          type: 'button',
          'aria-pressed': String(this.choices.historyView === view),
          'data-do': 'view',
          'data-with': view
        },
        word
      );
    return [
      h(
        'span',
        { role: 'group', 'aria-label': trans.__('Show as') },
        as('chart', trans.__('Chart')),
        as('table', trans.__('Table'))
      ),
      h(
        'button',
        {
          type: 'button',
          class: 'not-narrow',
          'data-do': 'save',
          title: trans.__('Save these readings as CSV; JSON is in the menu')
        },
        trans.__('Export')
      )
    ];
  }

  private key({ device }: ChartContent): HTMLElement {
    const { trans } = this.parts;
    const all = device.gpu
      ? trans.__('all on %1, GiB', device.label)
      : trans.__('everybody, GiB');
    return h(
      'div',
      { class: 'mlguard-Key' },
      h(
        'span',
        {},
        h('span', { class: 'mlguard-swatch mlguard-own', 'aria-hidden': 'true' }),
        trans.__('this notebook')
      ),
      h('span', {}, h('span', { class: 'mlguard-KeyLine', 'aria-hidden': 'true' }), all)
    );
  }

  private foot(): string {
    const { model, trans } = this.parts;
    if (model.sample === null) {
      return trans.__('no live readings');
    }
    const last = timeOfDay(model.sample.wall);
    return model.isStale
      ? trans.__('last %1', last)
      : model.account !== null && model.kernel?.elsewhere != null
        ? trans.__('from the kernel, last %1', last)
      : trans.__('every %1 s, last %2', this.choices.interval ?? model.hello?.minimum_interval ?? 1, last);
  }

  private act(action: string, argument: string, event: MouseEvent): void {
    const { model, front, actions } = this.parts;
    this._changes += 1;
    const acts: Record<string, () => void> = {
      fold: () => this.fold(argument),
      choose: () => this.choose(argument),
      view: () => this.showAs(argument === 'table' ? 'table' : 'chart'),
      save: () => actions.save('csv'),
      menu: () => actions.menu(event),
      open: () => actions.open(argument),
      release: () => actions.release(argument),
      jump: () => void front.goTo(Number(argument)),
      copy: () => Clipboard.copyToSystem(argument),
      reconnect: () => model.reconnect()
    };
    acts[action]?.();
  }

  private arrow(event: KeyboardEvent, button: HTMLElement | null): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined || button?.dataset.do !== 'choose') {
      return;
    }
    event.preventDefault();
    const buttons = Array.from(this.node.querySelectorAll<HTMLElement>('[data-do="choose"]'));
    const next = buttons[buttons.indexOf(button) + step];
    if (next) {
      this.choose(next.dataset.with ?? '');
      next.focus();
    }
  }

  private choose(key: string): void {
    this._changes += 1;
    this._chosen = key;
    this.draw();
  }

  private fold(key: string): void {
    if (!this._closed.delete(key)) {
      this._closed.add(key);
    }
    this.draw();
  }

  private showAs(view: 'chart' | 'table'): void {
    this.choices = { ...this.choices, historyView: view };
    void this._settings?.set('historyView', view);
    this.draw();
  }

  private _settings: ISettingRegistry.ISettings | null = null;
  private _choices: PanelChoices = {
    historyView: 'chart',
    historyMinutes: 10,
    showOthers: true,
    interval: null
  };
  private _changes = 0;
  private _width = 0;
  private _drawnAt = -Infinity;
  private _edition = '';
  private _drawn = '';
  private _rows: readonly CellRow[] = [];
  private _ledger: Ledger | null = null;
  private _chosen: string | null = null;
  private _timer = 0;
  private _isDue = false;
  private readonly _closed = new Set<string>();
  private readonly _resize: ResizeObserver;
}

/** What the panel is made of. */
export interface PanelParts {
  readonly model: LiveModel;
  readonly stream: Stream;
  readonly front: NotebookInFront;
  readonly actions: PanelActions;
  readonly trans: TranslationBundle;
}
