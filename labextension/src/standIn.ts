/**
 * A view for a guarded cell whose kernel is silent: compiled code may hold its interpreter from the first line on, and
 * then nothing in the kernel can send one. The page knows since when the cell runs, the server knows the memory.
 */

import { CodeCell, type Cell } from '@jupyterlab/cells';
import { NotebookActions, type Notebook } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { isObject, number } from './api';
import type { DirectiveReader } from './directives';
import { h } from './dom';
import { ViewFace, type FaceTools } from './face';
import { directiveOf, viewOf, type NotebookInFront } from './front';
import { RAM, type Device } from './model';
import { METADATA } from './remember';
import { readView, VIEW_VERSION, type CellView } from './view';
import { clockTime, gib } from './words';

/** A kernel that can send shows its own view after half of that. */
const SILENT_MILLISECONDS = 600;
const VIEWLESS = /(^|[\s-])view[ =](off|line)\b/;

/** Follow every guarded cell that this page runs. */
export function standInForSilentKernels(front: NotebookInFront, reader: DirectiveReader, tools: FaceTools): void {
  const waiting = new Map<Cell, StandIn>();
  const follow = (): void => waiting.forEach(one => one.follow(front));
  const end = (cell: Cell): void => {
    waiting.get(cell)?.dispose();
    waiting.delete(cell);
  };
  NotebookActions.executionScheduled.connect((_, { notebook, cell }) => {
    end(cell);
    const line = lineOf(notebook, cell);
    if (cell instanceof CodeCell && line !== null && !VIEWLESS.test(line)) {
      waiting.set(cell, new StandIn(notebook, cell, line, reader, tools));
      cell.disposed.connect(end);
    }
    follow();
  });
  NotebookActions.executed.connect((_, { cell }) => {
    cell.disposed.disconnect(end);
    end(cell);
    follow(); // the next one's turn has come
  });
}

/** What guards a cell: its own line, or that of `%guard on`; null where nothing does. */
function lineOf(notebook: Notebook, cell: Cell): string | null {
  const settings = notebook.model?.getMetadata(METADATA);
  const everywhere = isObject(settings) && typeof settings.everywhere === 'string' ? settings.everywhere : null;
  return directiveOf(cell.model.sharedModel.getSource()) ?? everywhere;
}

/** Of one execution; shown only while the kernel has sent no view of its own. */
class StandIn implements IDisposable {
  constructor(
    private readonly notebook: Notebook,
    private readonly cell: CodeCell,
    private readonly line: string,
    private readonly reader: DirectiveReader,
    private readonly tools: FaceTools
  ) {}

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** The cell's silence counts from its turn on. */
  follow(front: NotebookInFront): void {
    const since = front.since(this.cell);
    if (since !== null && !this._timer) {
      this._timer = window.setTimeout(() => void this.show(since), SILENT_MILLISECONDS);
    }
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    window.clearTimeout(this._timer);
    this._face?.dispose();
    if (!this.cell.isDisposed) {
      this.cell.model.outputs.changed.disconnect(this.giveWay, this);
    }
    const hadFocus = this.node.contains(document.activeElement);
    this.node.remove();
    if (hadFocus) {
      // The kernel's own view is in the page by then: the focus goes on where it was.
      window.setTimeout(() => {
        const view = this.cell.node.querySelector('.mlguard-View');
        (view?.querySelector<HTMLElement>('[data-do=stop]') ?? view?.querySelector<HTMLElement>('.mlguard-View-rows'))?.focus({
          preventScroll: true
        });
      }, 0);
    }
  }

  private async show(since: number): Promise<void> {
    const { cell, tools } = this;
    const read = await this.reader.read(this.line);
    if (this._isDisposed || cell.isDisposed || viewOf(cell) !== null) {
      return;
    }
    const memory = isObject(read?.policy) && isObject(read.policy.memory) ? read.policy.memory : {};
    cell.model.outputs.changed.connect(this.giveWay, this);
    cell.outputArea.node.append(this.node);
    this._face = new ViewFace(this.view, () => this.notebook.isVisible, tools);
    this._face.show(silentView(since, memory, tools));
  }

  private giveWay(): void {
    if (viewOf(this.cell) !== null) {
      this.dispose();
    }
  }

  private readonly view = h('div', { class: 'jp-OutputArea-output mlguard mlguard-View' });
  private readonly node = h(
    'div',
    { class: 'jp-OutputArea-child mlguard-StandIn' },
    h('div', { class: 'jp-OutputPrompt jp-OutputArea-prompt' }),
    this.view
  );
  private _face: ViewFace | null = null;
  private _timer = 0;
  private _isDisposed = false;
}

/** What can be said of a running cell by who only watches, as its kernel would: its time, its stops, the machine's memory. */
function silentView(
  since: number,
  memory: Readonly<Record<string, unknown>>,
  { model, trans }: FaceTools
): CellView | null {
  const elapsed = Math.max(0, Date.now() / 1000 - since);
  const told = trans.__('Nothing heard from the kernel yet: compiled code may hold its interpreter.');
  return readView({
    version: VIEW_VERSION,
    outcome: 'running',
    started_wall: since,
    elapsed_seconds: elapsed,
    headline: {
      sign: 'running',
      spans: [
        ['strong', trans.__('running %1', clockTime(elapsed))],
        ['quiet', '']
      ]
    },
    devices: model.devices.map(device => silentDevice(device, memory, trans)),
    happened: [['quiet', told]],
    sentence: `guard: ${told}`
  });
}

function silentDevice(device: Device, memory: Readonly<Record<string, unknown>>, trans: TranslationBundle): object {
  const limit = device.limit.value;
  const ceiling = number(device.key === RAM ? memory.ram : memory.gpu);
  const stop = ceiling === null || limit === null ? null : ceiling <= 1 ? ceiling * limit : ceiling;
  return {
    key: device.key,
    label: device.label,
    used_bytes: device.used.value,
    limit_bytes: limit,
    stop_bytes: stop,
    note: stop === null ? '' : trans.__('stop %1', gib(stop)),
    reason: device.used.reason
  };
}
