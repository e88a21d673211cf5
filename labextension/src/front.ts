/** The notebook in front: its kernel, its cells with their times and peaks, and the way to a cell. */

import { CodeCellModel, type Cell, type CodeCell } from '@jupyterlab/cells';
import {
  INotebookTracker,
  Notebook,
  NotebookActions,
  NotebookPanel
} from '@jupyterlab/notebook';
import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';
import type { KernelNow } from './messages';
import { LiveModel, RAM } from './model';
import { CellView, Peak, readView, VIEW_MIME } from './view';

/** One execution, in seconds since the epoch; `end` is null while it waits or runs. Turns count up. */
interface Run {
  readonly notebook: string;
  readonly turn: number;
  readonly scheduled: number;
  readonly start: number;
  readonly end: number | null;
}

interface Execution {
  readonly notebook: Notebook;
  readonly cell: Cell;
}

/** A cell as the panel lists it. `number` counts the code cells of the file from 1. */
export interface CellRow {
  readonly id: string;
  readonly number: number;
  readonly name: string;
  readonly isGuarded: boolean;
  readonly isRunning: boolean;
  readonly start: number | null;
  readonly end: number | null;
  readonly seconds: number | null;
  readonly view: CellView | null;
  peak(key: string): CellPeak;
}

/** A cell that has just ended. `isInFront` is false for a notebook behind another one. */
export interface CellEnd {
  readonly row: CellRow;
  readonly file: string;
  readonly isInFront: boolean;
  readonly isWell: boolean;
  goTo(): void;
}

/** What a cell's kernel held at most; `bytes` is null where nobody looked. */
export interface CellPeak {
  readonly bytes: number | null;
  readonly kind: Peak;
}

const GUARD = /^\s*%%guard\b(?!\?)(.*)/;

/** The text after %%guard on the first line of a cell, or null where the cell is not guarded. */
export function directiveOf(source: string): string | null {
  return GUARD.exec(source.split('\n', 1)[0] ?? '')?.[1]?.trim() ?? null;
}

/** Follows the tracker (null where the application has no notebooks); `model.kernelId` is kept in step. */
export class NotebookInFront implements IDisposable {
  constructor(
    private readonly tracker: INotebookTracker | null,
    private readonly model: LiveModel
  ) {
    tracker?.currentChanged.connect(this.follow, this);
    NotebookActions.executionScheduled.connect(this.begin, this);
    NotebookActions.executed.connect(this.finish, this);
    this.follow();
  }

  get panel(): NotebookPanel | null {
    return this.tracker?.currentWidget ?? null;
  }

  /** Another notebook came to the front, or its kernel changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** A cell has just ended, in this notebook or in another one of the page. */
  get cellEnded(): ISignal<this, CellEnd> {
    return this._cellEnded;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** The file's name, "" without a notebook. */
  get name(): string {
    return this.panel?.context.path.split('/').pop() ?? '';
  }

  /** Every code cell that has run here, in the order of the file. */
  get rows(): readonly CellRow[] {
    return this.panel ? this.rowsOf(this.panel.content) : [];
  }

  /** The same of any notebook of the page. */
  rowsOf(notebook: Notebook): readonly CellRow[] {
    let heading = '';
    let count = 0;
    const rows: CellRow[] = [];
    for (const cell of notebook.widgets) {
      const source = cell.model.sharedModel.getSource();
      if (cell.model.type !== 'code') {
        heading = /^#+\s+(.+)/m.exec(source)?.[1]?.trim() ?? heading;
        continue;
      }
      count += 1;
      const row = this.row(cell as CodeCell, count, heading);
      heading = '';
      if (row !== null) {
        rows.push(row);
      }
    }
    return rows;
  }

  /** The kernel as this page knows it: a cell that began or ended in an open notebook, after the server looked at `wall`. */
  fresh(kernel: KernelNow, wall: number): KernelNow {
    const panel = this.tracker?.find(other => other.sessionContext.session?.kernel?.id === kernel.kernel_id);
    const runs = Array.from(this._runs.values()).filter(run => run.notebook === panel?.content.id);
    if (runs.some(run => run.end === null)) {
      return { ...kernel, state: 'busy' };
    }
    const ended = Math.max(0, ...runs.map(run => run.end ?? 0));
    return ended > wall ? { ...kernel, state: 'idle', last_activity: ended } : kernel;
  }

  /** The notebook, of all open ones, that runs the cell which shows `node`; null where none does. */
  panelRunning(node: Node): NotebookPanel | null {
    const panel = this.tracker?.find(other => other.node.contains(node)) ?? null;
    const cell = panel?.content.widgets.find(other => other.node.contains(node));
    const run = cell && this._runs.get(cell.model.id);
    return run?.end === null ? panel : null;
  }

  /** Since when a cell of this page runs, in seconds since the epoch; null while it waits for its turn, and when it is over. */
  since(cell: Cell): number | null {
    const run = this._runs.get(cell.model.id);
    return run?.end === null && !this.isQueued(run) ? run.start : null;
  }

  /** Select a cell and bring it into view; with `line` (from 1) the cursor goes there. */
  async goTo(number: number, line: number | null = null): Promise<void> {
    if (this.panel !== null) {
      await goTo(this.panel, number, line);
    }
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      Signal.clearData(this);
    }
  }

  private row(cell: CodeCell, count: number, heading: string): CellRow | null {
    const view = viewOf(cell);
    const last = this._runs.get(cell.model.id) ?? null;
    const run = last !== null && this.isQueued(last) ? null : last;
    if (view === null && run === null) {
      return null;
    }
    const source = cell.model.sharedModel.getSource();
    const start = run?.start ?? view?.startedWall ?? null;
    const end = run ? run.end : endOf(view);
    const firstLine =
      source.split('\n').find(line => line.trim() && !line.startsWith('%')) ??
      source.split('\n', 1)[0];
    return {
      id: cell.model.id,
      number: count,
      name: view?.name ?? (heading || (firstLine ?? '').trim()),
      isGuarded: directiveOf(source) !== null,
      isRunning: run !== null && run.end === null,
      start,
      end,
      seconds: this.seconds(view, run, start, end),
      view,
      peak: key => this.peak(key, view, start, end)
    };
  }

  /** Whether a cell still waits for one that was scheduled before it. */
  private isQueued(run: Run): boolean {
    return (
      run.end === null &&
      Array.from(this._runs.values()).some(
        other =>
          other.end === null &&
          other.notebook === run.notebook &&
          other.turn < run.turn
      )
    );
  }

  /** The kernel's own account where the view has one; else what the page measured, which includes the way there and back. */
  private seconds(view: CellView | null, run: Run | null, start: number | null, end: number | null): number | null {
    if (run !== null && run.end === null) {
      return null;
    }
    const told = view !== null && !view.isRunning ? view.elapsed : null;
    return told ?? (start === null ? null : (end ?? start) - start);
  }

  /** The kernel's own account where the view has one; else the largest sample that fell into the run. */
  private peak(
    key: string,
    view: CellView | null,
    start: number | null,
    end: number | null
  ): CellPeak {
    const told = view?.devices.find(device => device.key === key);
    if (told && told.peak !== null) {
      return { bytes: told.peak, kind: told.peakKind };
    }
    if (start === null) {
      return { bytes: null, kind: null };
    }
    const seen = this.model.points
      .filter(
        point => point.wall >= start - 1 && (end === null || point.wall <= end + 1)
      )
      .map(point => this.model.ownAt(point, key))
      .filter((bytes): bytes is number => bytes !== null);
    return seen.length
      ? { bytes: Math.max(...seen), kind: 'sampled' }
      : { bytes: null, kind: null };
  }

  private follow(): void {
    const context = this.panel?.sessionContext;
    if (context !== this._context) {
      this._context?.kernelChanged.disconnect(this.follow, this);
      this._context = context;
      context?.kernelChanged.connect(this.follow, this);
    }
    const kernelId = context?.session?.kernel?.id ?? null;
    this.model.kernelId = kernelId;
    this._changed.emit();
    this.model.notify();
  }

  private begin(_: unknown, { notebook, cell }: Execution): void {
    const scheduled = Date.now() / 1000;
    this._runs.set(cell.model.id, {
      notebook: notebook.id,
      turn: ++this._turn,
      scheduled,
      start: scheduled,
      end: null
    });
  }

  private finish(_: unknown, { notebook, cell, success }: Execution & { success: boolean }): void {
    const run = this._runs.get(cell.model.id);
    if (run === undefined || !(cell.model instanceof CodeCellModel)) {
      return;
    }
    if (cell.model.executionCount === null) {
      this._runs.delete(cell.model.id); // an earlier cell failed, this one never ran
      return;
    }
    const end = Date.now() / 1000;
    this._runs.set(cell.model.id, { ...run, end });
    this.start(run.notebook, end);
    const row = this.rowsOf(notebook).find(other => other.id === cell.model.id);
    const panel = this.tracker?.find(other => other.content === notebook) ?? null;
    if (row && panel) {
      this._cellEnded.emit({
        row,
        file: panel.context.path.split('/').pop() ?? '',
        isInFront: panel === this.panel,
        isWell: success,
        goTo: () => void goTo(panel, row.number)
      });
    }
    this.model.notify();
  }

  /** Cells wait for one another: the next one begins when the one before it has ended. */
  private start(notebook: string, at: number): void {
    for (const [id, run] of this._runs) {
      if (run.notebook === notebook && run.end === null) {
        this._runs.set(id, { ...run, start: Math.max(run.scheduled, at) });
      }
    }
  }

  private _turn = 0;
  private _isDisposed = false;
  private _context: NotebookPanel['sessionContext'] | undefined;
  private readonly _runs = new Map<string, Run>();
  private readonly _changed = new Signal<this, void>(this);
  private readonly _cellEnded = new Signal<this, CellEnd>(this);
}

/** Select the code cell with that number (from 1) of `panel`, and bring both into view. */
async function goTo(panel: NotebookPanel, number: number, line: number | null = null): Promise<void> {
  const { content } = panel;
  const cell = content.widgets.filter(other => other.model.type === 'code')[number - 1];
  if (cell === undefined) {
    return;
  }
  content.deselectAll();
  content.activeCellIndex = content.widgets.indexOf(cell);
  await content.scrollToCell(cell, 'smart');
  cell.editor?.setCursorPosition({ line: (line ?? 1) - 1, column: 0 });
  content.mode = line === null ? 'command' : 'edit';
  panel.activate();
}

/** The view stored in a cell's outputs, null where there is none. */
export function viewOf(cell: CodeCell): CellView | null {
  const outputs = cell.model.outputs;
  for (let index = outputs.length - 1; index >= 0; index--) {
    const view = readView(outputs.get(index).data[VIEW_MIME]);
    if (view !== null) {
      return view;
    }
  }
  return null;
}

function endOf(view: CellView | null): number | null {
  return view?.startedWall != null && view.elapsed !== null
    ? view.startedWall + view.elapsed
    : null;
}

/** The stop of the running cell on a device, in bytes; null where it has none. */
export function stopOf(row: CellRow | null, key: string): number | null {
  const devices = row?.view?.isRunning ? row.view.devices : [];
  return devices.find(device => device.key === key)?.stop ?? null;
}

/** The key of the first GPU in `keys`, else RAM: what cells are sorted by. */
export function mainDevice(keys: readonly string[]): string {
  return keys.find(key => key !== RAM) ?? RAM;
}
