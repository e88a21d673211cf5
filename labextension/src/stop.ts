/** Stopping the cell that a view stands below: the server signals the kernel, so a kernel that is deaf hears it too. */

import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { h } from './dom';
import type { NotebookInFront } from './front';

export class Stopper {
  constructor(
    private readonly front: NotebookInFront,
    private readonly trans: TranslationBundle
  ) {}

  /** Whether a cell of this page that is running shows `node`: below any other cell a button could only be dead. */
  canStop(node: Node): boolean {
    return this.front.panelRunning(node) !== null;
  }

  /** Interrupt the kernel that runs the cell around `node`. */
  async stop(node: Node): Promise<void> {
    const kernel = this.front.panelRunning(node)?.sessionContext.session?.kernel;
    try {
      await kernel?.interrupt();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      Notification.error(this.trans.__('The cell could not be stopped: %1', why), { autoClose: false });
    }
  }

  /** Pressed a second time it interrupts once more, for a cell that went on after the first. */
  button(isStopping: boolean): HTMLElement {
    const { trans } = this;
    const title = trans.__('Interrupt the kernel: the cell ends, variables stay');
    return h(
      'button',
      {
        type: 'button',
        class: 'mlguard-View-stop',
        title,
        'data-do': 'stop',
        'data-key': 'stop',
        // JupyterLab takes Enter for "edit this cell" otherwise.
        'data-lm-suppress-shortcuts': true,
        'aria-label': isStopping ? trans.__('Stopping this cell; stop again') : trans.__('Stop this cell')
      },
      isStopping ? trans.__('Stopping…') : trans.__('Stop')
    );
  }
}
