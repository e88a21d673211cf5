/** The badge above a guarded cell: what its %%guard line asks for, and how far the cell is; opens the form. */

import type { Cell } from '@jupyterlab/cells';
import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { h, patch, type Child } from './dom';
import type { DirectiveReader } from './directives';
import { directiveOf, type NotebookInFront } from './front';
import type { DirectiveRead } from './messages';
import { sign } from './signs';

const WAIT_MILLISECONDS = 300;

/** Opens the form for a cell beside its badge. */
export type OpenForm = (cell: Cell, anchor: HTMLElement) => void;

/** Puts badges on the cells of one notebook and keeps them in step with line 1. */
export class Badges implements IDisposable {
  constructor(
    private readonly panel: NotebookPanel,
    private readonly reader: DirectiveReader,
    private readonly front: NotebookInFront,
    private readonly trans: TranslationBundle,
    private readonly open: OpenForm
  ) {
    panel.content.modelContentChanged.connect(this.soon, this);
    NotebookActions.executionScheduled.connect(this.soon, this);
    NotebookActions.executed.connect(this.soon, this);
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
      NotebookActions.executionScheduled.disconnect(this.soon, this);
      NotebookActions.executed.disconnect(this.soon, this);
      this._badges.forEach(badge => badge.dispose());
      this._badges.clear();
    }
  }

  /** The outputs of a running cell change all the time: the first change starts the wait, the others ride along. */
  private soon(): void {
    this._timer ||= window.setTimeout(() => void this.draw(), WAIT_MILLISECONDS);
  }

  private async draw(): Promise<void> {
    this._timer = 0;
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
          this.badge(cell).tell(read, line, this.progress(cell));
        } else {
          // A cell far off the screen has no editor yet.
          void cell.ready.then(() => this.soon());
        }
      })
    );
  }

  /** "running" or "attempt 2 of 3" while the cell runs, "" otherwise. */
  private progress(cell: Cell): string {
    const { trans } = this;
    const row = this.front.rowsOf(this.panel.content).find(other => other.id === cell.model.id);
    if (!row?.isRunning) {
      return '';
    }
    const { attempt, attemptsMax } = row.view ?? {};
    return attempt && attemptsMax && attemptsMax > 1
      ? trans.__('attempt %1 of %2', attempt, attemptsMax)
      : trans.__('running');
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

  /** The policy in words, `progress` before it while the cell runs; a mistake in the line as a sign with its reason. */
  tell(read: DirectiveRead | null, line: string, progress: string): void {
    const { trans } = this;
    const words = read?.phrases.length
      ? read.phrases.join(' · ')
      : line || trans.__('guarded, no option');
    const error = read?.error ?? null;
    this.node.title =
      error === null
        ? trans.__('Change the guard of this cell')
        : [error, read?.hint].filter(Boolean).join('; ');
    const parts: Child[] = [
      sign(error !== null ? 'critical' : progress ? 'running' : 'guard', undefined, 14),
      progress && h('b', { class: 'mlguard-strong' }, progress),
      h('span', {}, error === null ? words : trans.__('mistake in this guard'))
    ];
    patch(this.node, parts.filter((part): part is Node => part instanceof Node));
  }

  private _isDisposed = false;
}
