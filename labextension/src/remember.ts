/** Settings of %guard that outlast the kernel: a kernel cannot write its notebook, so this does when one tells of them. */

import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { KernelMessage } from '@jupyterlab/services';
import { isObject } from './api';
import { VIEW_MIME } from './view';

/** Where they stand in the notebook's metadata; a new kernel reads them from the saved file. */
const METADATA = 'mlguard_nb';

export function rememberSettings(tracker: INotebookTracker): void {
  tracker.widgetAdded.connect((_, panel) => {
    panel.sessionContext.iopubMessage.connect((_, message) => {
      if (KernelMessage.isDisplayDataMsg(message)) {
        const told = message.content.data[VIEW_MIME];
        if (isObject(told) && isObject(told.settings)) {
          keep(panel, told.settings);
        }
      }
    });
  });
}

/** Saved at once: what is not in the file when the kernel restarts is not remembered. */
function keep({ context, model }: NotebookPanel, settings: Readonly<Record<string, unknown>>): void {
  const isNew = JSON.stringify(model?.getMetadata(METADATA) ?? {}) !== JSON.stringify(settings);
  if (model === null || model.readOnly || !isNew) {
    return;
  }
  if (Object.keys(settings).length) {
    model.setMetadata(METADATA, settings);
  } else {
    model.deleteMetadata(METADATA);
  }
  if (context.contentsModel?.writable) {
    void context.save();
  }
}
