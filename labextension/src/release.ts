/** Giving memory back: asks an idle kernel to let go of what it does not need, or ends it; always after a question. */

import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { KernelMessage, ServiceManager } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import { isObject, number, text } from './api';
import { h } from './dom';
import type { NotebookInFront } from './front';
import type { KernelNow } from './messages';
import { heldOn, LiveModel } from './model';
import { gib } from './words';

const ANSWER_SECONDS = 30;
const ASK = "__import__('mlguard_nb.notebook.releasing', fromlist=['release']).release()";

/** What a kernel gave back, in bytes; null where nobody could say. */
interface Released {
  readonly ram: number | null;
  readonly gpus: number | null;
}

export class Releaser {
  constructor(
    private readonly services: ServiceManager.IManager,
    private readonly model: LiveModel,
    private readonly trans: TranslationBundle,
    private readonly front: NotebookInFront
  ) {}

  /** Ask what shall happen to the memory of that kernel, and do it. */
  async start(kernelId: string): Promise<void> {
    const { trans } = this;
    const { holders } = this.model;
    const kernel = holders?.kernels.find(row => row.kernel_id === kernelId);
    if (!holders || kernel === undefined) {
      return;
    }
    const isBusy = this.front.fresh(kernel, holders.wall).state === 'busy';
    const { button } = await showDialog({
      title: trans.__('Memory of %1', kernel.name),
      body: this.question(kernel, isBusy),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.warnButton({ label: trans.__('Shut down'), actions: ['shutdown'] }),
        ...(isBusy ? [] : [Dialog.okButton({ label: trans.__('Release'), actions: ['release'] })])
      ],
      defaultButton: 0
    });
    if (button.actions.includes('shutdown')) {
      await this.told(kernel, async () => {
        await this.services.kernels.shutdown(kernelId);
        return trans.__('%1 was shut down; its memory is free', kernel.name);
      });
    } else if (button.actions.includes('release')) {
      await this.told(kernel, async () => this.sentence(kernel, await this.release(kernel)));
    }
  }

  private question(kernel: KernelNow, isBusy: boolean): Widget {
    const { model, trans } = this;
    const held = model.devices.flatMap(device => {
      const bytes = heldOn(kernel, device.key).value;
      return bytes === null ? [] : [trans.__('%1 GiB of %2', gib(bytes), device.label)];
    });
    return new Widget({
      node: h(
        'div',
        { class: 'mlguard mlguard-Release' },
        h('p', {}, held.length ? trans.__('It holds %1.', held.join(', ')) : trans.__('Nobody knows what it holds.')),
        h(
          'p',
          {},
          isBusy
            ? trans.__('It runs a cell, so it can only be shut down now: interrupt the cell to release instead.')
            : trans.__(
                'Release: caches, garbage, what a shown error keeps, and GPU memory that its framework does not use. Every variable stays.'
              )
        ),
        h('p', {}, trans.__('Shut down: the kernel ends, and with it every variable.'))
      )
    });
  }

  /** Run the release in the kernel, outside its history and without output. */
  private async release({ kernel_id: id, name }: KernelNow): Promise<Released> {
    const kernel = this.services.kernels.connectTo({ model: { id, name } });
    try {
      const future = kernel.requestExecute(
        { code: '', silent: true, store_history: false, user_expressions: { released: ASK } },
        true
      );
      const reply = await Promise.race([future.done, silence(ANSWER_SECONDS)]);
      if (reply === null) {
        throw new Error(
          this.trans.__('the kernel did not answer within %1 s; it does so when its cell has ended', ANSWER_SECONDS)
        );
      }
      return this.read(reply);
    } finally {
      kernel.dispose();
    }
  }

  private read({ content }: KernelMessage.IExecuteReplyMsg): Released {
    const { trans } = this;
    const expressions = content.status === 'ok' ? content.user_expressions : {};
    const answer: unknown = expressions.released;
    const data = isObject(answer) && isObject(answer.data) ? answer.data['application/json'] : null;
    if (isObject(data)) {
      return { ram: number(data.ram_bytes), gpus: number(data.gpu_bytes) };
    }
    const said = isObject(answer) ? text(answer.evalue) : '';
    throw new Error(
      said.includes('No module named')
        ? trans.__('mlguard-nb is not installed where this kernel runs: pip install mlguard-nb there')
        : said || trans.__('the kernel cannot release memory: it is no IPython kernel')
    );
  }

  private sentence({ name }: KernelNow, { ram, gpus }: Released): string {
    const { trans } = this;
    const parts = [
      ram === null ? null : trans.__('%1 GiB of RAM', gib(ram)),
      gpus === null ? null : trans.__('%1 GiB of GPU memory', gib(gpus))
    ].filter(part => part !== null);
    return parts.length
      ? trans.__('%1 gave back %2', name, parts.join(', '))
      : trans.__('%1 gave back what it could', name);
  }

  private async told(kernel: KernelNow, act: () => Promise<string>): Promise<void> {
    try {
      Notification.success(await act(), { autoClose: 8000 });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      Notification.error(this.trans.__('%1: %2', kernel.name, why), { autoClose: false });
    }
  }
}

async function silence(seconds: number): Promise<null> {
  return new Promise(resolve => window.setTimeout(() => resolve(null), seconds * 1000));
}
