/** The badge above a guarded cell: what its %%guard line asks for, in words; opens the form. */

import type { Cell } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import type { Api } from './api';
import { h, patch } from './dom';
import { directiveOf } from './front';
import type { DirectiveRead } from './messages';
import { sign } from './signs';

const WAIT_MILLISECONDS = 300;

/** Opens the form for a cell beside its badge. */
export type OpenForm = (cell: Cell, anchor: HTMLElement) => void;

/** Asks the server once for each distinct line, however many cells carry it. */
export class DirectiveReader {
  constructor(private readonly api: Api) {}

  /** What `line` means, null where the server cannot say. */
  async read(line: string): Promise<DirectiveRead | null> {
    const known = this._known.get(line);
    if (known) {
      return known;
    }
    const waiting = new Promise<DirectiveRead | null>(resolve => {
      this._waiting.push({ line, resolve });
    });
    this._timer ||= window.setTimeout(() => void this.ask(), 0);
    const read = await waiting;
    if (read) {
      this._known.set(line, read);
    }
    return read;
  }

  private async ask(): Promise<void> {
    const waiting = this._waiting.splice(0);
    this._timer = 0;
    const read = await this.api
      .directives(waiting.map(({ line }) => line))
      .catch(() => []);
    waiting.forEach(({ resolve }, index) => resolve(read[index] ?? null));
  }

  private _timer = 0;
  private readonly _known = new Map<string, DirectiveRead>();
  private readonly _waiting: {
    line: string;
    resolve: (read: DirectiveRead | null) => void;
  }[] = [];
}

/** Puts badges on the cells of one notebook and keeps them in step with line 1. */
export class Badges implements IDisposable {
  constructor(
    private readonly panel: NotebookPanel,
    private readonly reader: DirectiveReader,
    private readonly trans: TranslationBundle,
    private readonly open: OpenForm
  ) {
    panel.content.modelContentChanged.connect(this.soon, this);
    panel.disposed.connect(this.dispose, this);
    this.soon();
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      window.clearTimeout(this._timer);
      this._badges.forEach(badge => badge.dispose());
      this._badges.clear();
    }
  }

  private soon(): void {
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => void this.draw(), WAIT_MILLISECONDS);
  }

  private async draw(): Promise<void> {
    const cells = this._isDisposed ? [] : this.panel.content.widgets;
    const guarded = cells.flatMap(cell => {
      const line = directiveOf(cell.model.sharedModel.getSource());
      return cell.model.type === 'code' && line !== null ? [{ cell, line }] : [];
    });
    const wanted = new Set<Cell>(guarded.map(({ cell }) => cell));
    for (const [cell, badge] of this._badges) {
      if (!wanted.has(cell)) {
        badge.dispose();
        this._badges.delete(cell);
      }
    }
    await Promise.all(
      guarded.map(async ({ cell, line }) => {
        const read = await this.reader.read(`%%guard ${line}`);
        if (this._isDisposed || cell.isDisposed) {
          return;
        }
        if (cell.inputArea) {
          this.badge(cell).tell(read, line);
        } else {
          // A cell far off the screen has no editor yet.
          void cell.ready.then(() => this.soon());
        }
      })
    );
  }

  private badge(cell: Cell): Badge {
    const known = this._badges.get(cell);
    if (known && !known.isDisposed) {
      return known;
    }
    const badge = new Badge(this.trans, anchor => this.open(cell, anchor));
    const area = cell.inputArea?.parent?.node ?? cell.node;
    area.classList.add('mlguard-has-Badge');
    area.append(badge.node);
    this._badges.set(cell, badge);
    return badge;
  }

  private _isDisposed = false;
  private _timer = 0;
  private readonly _badges = new Map<Cell, Badge>();
}

/** One badge; a plain element, since cells off the screen are not attached to the page. */
class Badge implements IDisposable {
  constructor(
    private readonly trans: TranslationBundle,
    open: (anchor: HTMLElement) => void
  ) {
    this.node.addEventListener('click', event => {
      event.stopPropagation();
      open(this.node);
    });
  }

  readonly node = h('button', {
    type: 'button',
    class: 'mlguard mlguard-Badge'
  });

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    this.node.parentElement?.classList.remove('mlguard-has-Badge');
    this.node.remove();
  }

  /** The policy in words; a mistake in the line as a sign with its reason. */
  tell(read: DirectiveRead | null, line: string): void {
    const { trans } = this;
    const words = read?.phrases.length
      ? read.phrases.join(' · ')
      : line || trans.__('guarded, no option');
    const error = read?.error ?? null;
    this.node.title =
      error === null
        ? trans.__('Change the guard of this cell')
        : [error, read?.hint].filter(Boolean).join('; ');
    patch(this.node, [
      sign(error === null ? 'guard' : 'critical', undefined, 14),
      h('span', {}, error === null ? words : trans.__('mistake in this guard'))
    ]);
  }

  private _isDisposed = false;
}
