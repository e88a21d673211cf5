/** Settings of %guard that outlast the kernel: a kernel cannot write its notebook, so this does when one tells of them. */

import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { KernelMessage } from '@jupyterlab/services';
import { isObject } from './api';
import { VIEW_MIME } from './view';

/** Where they stand in the notebook's metadata; a new kernel reads them from the saved file. */
export const METADATA = 'mlguard_nb';
const MOST_CHARACTERS = 100_000;

type Settings = Readonly<Record<string, unknown>>;

export function rememberSettings(tracker: INotebookTracker): void {
  tracker.widgetAdded.connect((_, panel) => {
    panel.sessionContext.iopubMessage.connect((_, message) => {
      if (KernelMessage.isDisplayDataMsg(message)) {
        const told = message.content.data[VIEW_MIME];
        const settings = isObject(told) ? readSettings(told.settings) : null;
        if (settings !== null) {
          keep(panel, settings);
        }
      }
    });
  });
}

/** The settings in `data`; null where they are none, or more than a notebook should carry. */
export function readSettings(data: unknown): Settings | null {
  return isObject(data) && JSON.stringify(data).length <= MOST_CHARACTERS ? data : null;
}

/** Saved at once: what is not in the file when the kernel restarts is not remembered. */
function keep({ context, model }: NotebookPanel, settings: Settings): void {
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
    context.save().catch(() => undefined); // JupyterLab says why, in a dialog of its own
  }
}
