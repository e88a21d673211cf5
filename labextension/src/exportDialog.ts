/** The export dialog: plan, progress, result, refusal; one dialog of one width whose middle scrolls. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import {
  Api,
  ExportNews,
  ExportPlan,
  ExportRefused,
  ExportResult,
  Progress
} from './api';
import { h, patch } from './dom';
import { face } from './exportFaces';
import type { ExportMemory } from './messages';

/** Where the export stands. */
export type ExportState =
  | { readonly kind: 'reading' }
  | { readonly kind: 'plan'; readonly plan: ExportPlan }
  | {
      readonly kind: 'writing';
      readonly plan: ExportPlan;
      readonly heard: readonly StageHeard[];
      readonly memory: ExportMemory | null;
    }
  | { readonly kind: 'result'; readonly result: ExportResult; readonly all: boolean }
  | {
      readonly kind: 'refused';
      readonly refusal: ExportRefused;
      readonly plan: ExportPlan | null;
    };

/** A stage that the converter named, and when it first did, in seconds of the page's own clock. */
export interface StageHeard extends Progress {
  readonly began: number;
}

/**
 * What the page knows of the notebook: how many code cells it has, how long they last took (null: not run here), and
 * whether its file holds them as they are shown.
 */
export interface NotebookFacts {
  readonly codeCells: number;
  readonly seconds: number | null;
  readonly isSaved: boolean;
}

/** What was filled in. */
export interface ExportForm {
  name: string;
  folder: string;
  verify: boolean;
}

/** What the dialog may ask the application for. */
export interface ExportActions {
  jump(cell: number, line: number | null): void;
  source(cell: number): string;
  leave(): void;
  changed(): void;
  openFile(path: string): void;
  openFolder(path: string): void;
  copy(text: string): void;
  closed(): void;
}

export class ExportDialog implements IDisposable {
  constructor(
    private readonly api: Api,
    readonly path: string,
    readonly notebook: NotebookFacts,
    private readonly trans: TranslationBundle,
    private readonly actions: ExportActions
  ) {
    const name = packageName(this.file);
    const folder = path.includes('/')
      ? path.slice(0, path.lastIndexOf('/') + 1)
      : '';
    this.form = { name, folder: `${folder}exports/${name}`, verify: true };
    this.node.addEventListener('click', this);
    this.node.addEventListener('cancel', this);
    this.node.addEventListener('input', this);
    this.node.addEventListener('submit', this);
  }

  readonly node = h('dialog', { class: 'mlguard mlguard-Dialog' });
  readonly form: ExportForm;

  get state(): ExportState {
    return this._state;
  }

  /** How many findings there are in what the dialog shows. */
  get findings(): number {
    const state = this._state;
    return state.kind === 'refused'
      ? state.refusal.findings.length
      : state.kind === 'result'
        ? state.result.findings.length
        : state.kind === 'reading'
          ? 0
          : state.plan.findings.length;
  }

  /** The lines of a code cell as they stand in the notebook. */
  source(cell: number): string {
    return this.actions.source(cell);
  }

  /** The file's own name. */
  get file(): string {
    return this.path.split('/').pop() ?? this.path;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Show the dialog; reads the notebook the first time. */
  open(): void {
    document.body.append(this.node);
    this.node.setAttribute(
      'aria-label',
      this.trans.__('Export %1', this.file)
    );
    this.draw();
    if (!this.node.open) {
      this.node.showModal();
    }
    this.focusFirst();
    if (!this._isRead) {
      this._isRead = true;
      void this.read();
    }
  }

  /** Hide the dialog and keep what it knows: a reader who looked at a cell comes back to it. */
  hide(): void {
    this.node.close();
    this.node.remove();
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this._stop?.abort();
      this.hide();
      this.actions.closed();
    }
  }

  handleEvent(event: Event): void {
    if (event.type === 'cancel') {
      event.preventDefault(); // Escape ends a plan, never an export that runs
      if (this._state.kind !== 'writing') {
        this.dispose();
      }
    } else if (event.type === 'submit') {
      event.preventDefault();
      this.act('export', '', '');
    } else if (event.type === 'input') {
      this.take(event.target);
    } else if (event.target instanceof Element) {
      const button = event.target.closest<HTMLElement>('[data-do]');
      if (button) {
        const { do: action, with: argument, line } = button.dataset;
        this.act(action ?? '', argument ?? '', line ?? '');
      }
    }
  }

  private act(action: string, argument: string, line: string): void {
    const acts: Record<string, () => void> = {
      close: () => this.dispose(),
      export: () => void this.write(),
      stop: () => this._stop?.abort(),
      leave: () => this.actions.leave(),
      again: () => void this.read(),
      skip: () => {
        this._skipsBadCells = true;
        void this.read();
      },
      all: () =>
        this._state.kind === 'result' &&
        this.be({ ...this._state, all: !this._state.all }),
      jump: () =>
        this.actions.jump(Number(argument), Number(line) || null),
      file: () => {
        this.actions.openFile(argument);
        this.dispose();
      },
      folder: () => {
        this.actions.openFolder(argument);
        this.dispose();
      },
      copy: () => this.actions.copy(argument)
    };
    acts[action]?.();
  }

  private take(target: EventTarget | null): void {
    if (!(target instanceof HTMLInputElement)) {
      return;
    }
    if (target.name === 'verify') {
      this.form.verify = target.checked;
    } else if (target.name === 'name') {
      const before = this.form.name;
      this.form.name = target.value.trim();
      if (this.form.folder.endsWith(`/${before}`)) {
        this.form.folder = `${this.form.folder.slice(0, -before.length)}${this.form.name}`;
      }
    } else if (target.name === 'folder') {
      this.form.folder = target.value.trim();
    }
    this.draw();
  }

  private async read(): Promise<void> {
    this.be({ kind: 'reading' });
    try {
      const plan = await this.api.plan(this.path, this._skipsBadCells);
      if (plan.name && this.form.name === packageName(this.file)) {
        this.form.folder = this.form.folder.replace(/[^/]*$/, plan.name);
        this.form.name = plan.name;
      }
      this.be({ kind: 'plan', plan });
    } catch (error) {
      this.be({ kind: 'refused', refusal: refusal(error), plan: null });
    }
    this.focusFirst();
  }

  private async write(): Promise<void> {
    if (this._state.kind !== 'plan') {
      return;
    }
    const { plan } = this._state;
    this._stop = new AbortController();
    this.be({ kind: 'writing', plan, heard: [], memory: null });
    this.focusFirst();
    const tick = window.setInterval(() => this.draw(), 1000);
    try {
      const result = await this.api.write(
        {
          path: this.path,
          output: this.form.folder,
          name: this.form.name,
          verify: this.form.verify,
          skip_bad_cells: this._skipsBadCells
        },
        news => this.hear(news),
        this._stop.signal
      );
      this.be({ kind: 'result', result, all: false });
    } catch (error) {
      if (this._stop.signal.aborted) {
        this.be({ kind: 'plan', plan });
      } else {
        this.be({ kind: 'refused', refusal: refusal(error), plan });
      }
    } finally {
      window.clearInterval(tick);
    }
    this.focusFirst();
  }

  private hear(news: ExportNews): void {
    if (this._state.kind !== 'writing') {
      return;
    }
    const { heard } = this._state;
    const last = heard[heard.length - 1];
    if ('peak' in news) {
      this.be({ ...this._state, memory: news });
    } else if (last?.text === news.text) {
      this.be({ ...this._state, heard: [...heard.slice(0, -1), { ...news, began: last.began }] });
    } else {
      this.be({ ...this._state, heard: [...heard, { ...news, began: secondsNow() }] });
    }
  }

  private be(state: ExportState): void {
    this._state = state;
    this.draw();
    this.actions.changed();
  }

  private draw(): void {
    if (!this._isDisposed) {
      patch(this.node, face(this, this.trans));
      this.node
        .querySelectorAll<HTMLInputElement>('input[type="text"]')
        .forEach(input => {
          const wanted = input.getAttribute('value') ?? '';
          if (input.value !== wanted && document.activeElement !== input) {
            input.value = wanted;
          }
        });
    }
  }

  /** What a reader most likely wants next; where nothing is to accept, the last button loses nothing. */
  private focusFirst(): void {
    const foot = '.mlguard-Dialog-foot';
    const first =
      this.node.querySelector<HTMLElement>(`${foot} .mlguard-accept:not(:disabled)`) ??
      this.node.querySelector<HTMLElement>(`${foot} button:last-child:not(:disabled)`) ??
      this.node.querySelector<HTMLElement>(`${foot} button`);
    first?.focus();
  }

  private _state: ExportState = { kind: 'reading' };
  private _skipsBadCells = false;
  private _isRead = false;
  private _isDisposed = false;
  private _stop: AbortController | null = null;
}

/** A name that Python can import, made from a file's. */
export function packageName(file: string): string {
  const name = file
    .replace(/\.ipynb$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9_]+/g, '_')
    .replace(/^_+|_+$/g, '');
  return /^[a-z_]/.test(name) ? name : `notebook_${name}`.replace(/_$/, '');
}

/** Seconds of the page's own clock, which no change of the machine's time moves. */
export function secondsNow(): number {
  return performance.now() / 1000;
}

function refusal(error: unknown): ExportRefused {
  if (error instanceof ExportRefused) {
    return error;
  }
  return new ExportRefused(
    error instanceof Error ? error.message : String(error),
    []
  );
}
