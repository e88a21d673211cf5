/** Asks the kernel of the notebook in front for its own account, where the server cannot look at it. */

import type { Kernel } from '@jupyterlab/services';
import { IDisposable } from '@lumino/disposable';
import { knownMessage } from './api';
import type { NotebookInFront } from './front';
import type { Ask, KernelAccount } from './messages';
import type { LiveModel } from './model';

const TARGET = 'mlguard.account';

/** Where a tab keeps the id of its comm: what a page sends while it is being reloaded may never leave the browser. */
const KEPT = 'mlguard-nb:account';
const AGAIN_SECONDS = 10;

/** An account of a hundred GPUs is half as long; nothing longer is drawn, whoever sends it. */
const MOST_CHARACTERS = 100_000;

/** JupyterLab's own comms say when their subshell runs; its interface does not, and before 4.4 there is none. */
type StartedComm = Kernel.IComm & { readonly subshellStarted?: Promise<void> };

/** Keeps one comm open, to the kernel in front and only while the model has to ask it. */
export class KernelFeed implements IDisposable {
  constructor(
    private readonly model: LiveModel,
    private readonly front: NotebookInFront
  ) {
    model.changed.connect(this.follow, this);
    // A page that is reloaded or shut tells the kernel itself: nobody else closes its comm.
    window.addEventListener('pagehide', this.end);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this.model.changed.disconnect(this.follow, this);
      window.removeEventListener('pagehide', this.end);
      this.end();
    }
  }

  /** A kernel without the extension closes the comm at once; it is asked again, since it may be loaded later. */
  private follow(): void {
    const kernel = this.front.panel?.sessionContext.session?.kernel ?? null;
    const wanted = this.model.asksKernel ? kernel : null;
    const isLost = this._comm === null || this._comm.isDisposed;
    if (wanted?.id !== this._kernelId || (isLost && performance.now() > this._again)) {
      this.end();
      this.begin(wanted);
    }
  }

  private begin(kernel: Kernel.IKernelConnection | null): void {
    this._kernelId = kernel?.id;
    this._again = performance.now() + 1000 * AGAIN_SECONDS;
    if (kernel === null || !kernel.handleComms || kernel.isDisposed) {
      return;
    }
    const { id } = kernel;
    const comm = kernel.createComm(TARGET);
    comm.onMsg = ({ content }) => {
      this.model.hearKernel(id, readAccount(content.data) ?? 'unreadable');
    };
    comm.onClose = () => {
      if (this._comm === comm) {
        this._comm = null;
        this.model.hearKernel(id, null);
      }
    };
    this._comm = comm;
    void this.open(comm);
  }

  /** Over a subshell where the kernel has one (a running cell would hold the request up), so once that has started. */
  private async open(comm: Kernel.IComm): Promise<void> {
    try {
      await (comm as StartedComm).subshellStarted;
    } catch {
      // The main shell takes it then, as soon as it is idle.
    }
    if (this._comm === comm && !comm.isDisposed) {
      const ask: Ask = { kind: 'ask', instead_of: exchange(comm.commId) };
      comm.open({ ...ask });
    }
  }

  private readonly end = (): void => {
    const [comm, id] = [this._comm, this._kernelId];
    this._comm = null;
    this._kernelId = undefined;
    if (comm !== null && !comm.isDisposed) {
      comm.close();
    }
    if (id !== undefined && comm !== null) {
      this.model.hearKernel(id, null);
    }
  };

  private _comm: Kernel.IComm | null = null;
  private _kernelId: string | undefined;
  private _again = 0;
  private _isDisposed = false;
}

/** Keep `id` as the comm of this tab; returns the one before it, null where there was none or the browser keeps nothing. */
function exchange(id: string): string | null {
  try {
    const before = window.sessionStorage.getItem(KEPT);
    window.sessionStorage.setItem(KEPT, id);
    return before;
  } catch {
    return null;
  }
}

/** The account in `data`, null where there is none that this page can read. */
function readAccount(data: unknown): KernelAccount | null {
  const message = knownMessage(data);
  return message?.kind === 'account' && JSON.stringify(message).length <= MOST_CHARACTERS ? message : null;
}
