/** The export command: saves the notebook, opens the dialog, keeps the way back after a look at a cell. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import { Api } from './api';
import { h } from './dom';
import { ExportDialog } from './exportDialog';
import type { NotebookInFront } from './front';
import { sign } from './signs';

/** Starts an export of the notebook in front; what runs, what waits and what is kept are its own affair. */
export class Exporter {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly api: Api,
    private readonly front: NotebookInFront,
    private readonly trans: TranslationBundle
  ) {}

  /** Save the notebook and show its plan. */
  async start(): Promise<void> {
    const panel = this.front.panel;
    if (panel === null) {
      return;
    }
    this.drop();
    const isSaved = await saved(panel);
    const cells = panel.content.widgets.filter(
      cell => cell.model.type === 'code'
    );
    const dialog = new ExportDialog(
      this.api,
      panel.context.path,
      { codeCells: cells.length, seconds: this.lastSeconds, isSaved },
      this.trans,
      {
        jump: (cell, line) => {
          this.leave(panel, dialog);
          void this.front.goTo(cell, line);
        },
        source: cell => cells[cell - 1]?.model.sharedModel.getSource() ?? '',
        leave: () => this.leave(panel, dialog),
        changed: () => this._said?.replaceChildren(this.waiting(dialog)),
        openFile: path => this.run('docmanager:open', { path }),
        openFolder: path => this.openFolder(path),
        copy: text => Clipboard.copyToSystem(text),
        closed: () => this.drop()
      }
    );
    dialog.open();
  }

  /** In the file browser; Notebook 7 has that on a page of its own. */
  private openFolder(path: string): void {
    if (this.app.commands.hasCommand('filebrowser:go-to-path')) {
      this.run('filebrowser:go-to-path', { path, dontShowBrowser: false });
      this.run('filebrowser:activate', {});
    } else {
      window.open(URLExt.join(this.api.settings.baseUrl, 'tree', URLExt.encodeParts(path)));
    }
  }

  /** How long the cells took that ran on this page, null where none did. */
  private get lastSeconds(): number | null {
    const known = this.front.rows.flatMap(row => row.seconds ?? []);
    return known.length ? known.reduce((sum, seconds) => sum + seconds, 0) : null;
  }

  /** Close the dialog and keep what it knows; one line above the notebook leads back. */
  private leave(panel: NotebookPanel, dialog: ExportDialog): void {
    dialog.hide();
    this.drop();
    const { trans } = this;
    const said = h('span', { class: 'mlguard-cut' }, this.waiting(dialog));
    const back = new Widget({
      node: h(
        'div',
        { class: 'mlguard mlguard-Back' },
        sign('note'),
        said,
        h('span', { class: 'mlguard-push' }),
        h('button', { type: 'button', class: 'mlguard-link' }, trans.__('Back to the export')),
        h('button', { type: 'button', 'aria-label': trans.__('Drop the export') }, sign('cross'))
      )
    });
    const [again, drop] = Array.from(back.node.querySelectorAll('button'));
    again?.addEventListener('click', () => {
      this.drop();
      dialog.open();
    });
    drop?.addEventListener('click', () => dialog.dispose());
    panel.contentHeader.addWidget(back);
    this._back = back;
    this._said = said;
  }

  /** What became of an export whose dialog is closed. */
  private waiting(dialog: ExportDialog): string {
    const { trans } = this;
    switch (dialog.state.kind) {
      case 'writing':
        return trans.__('Export of %1 is running.', dialog.file);
      case 'result':
        return trans.__('%1 is exported.', dialog.file);
      case 'refused':
        return trans.__('%1 cannot be exported.', dialog.file);
      default:
        return (
          trans.__('Export of %1 is waiting: ', dialog.file) +
          trans._n('%1 finding, plan kept.', '%1 findings, plan kept.', dialog.findings)
        );
    }
  }

  private drop(): void {
    this._back?.dispose();
    this._back = null;
    this._said = null;
  }

  private run(command: string, args: Record<string, string | boolean>): void {
    if (this.app.commands.hasCommand(command)) {
      void this.app.commands.execute(command, args);
    }
  }

  private _back: Widget | null = null;
  private _said: HTMLElement | null = null;
}

/** Whether the file holds what the page shows. Where it cannot be written JupyterLab says why, in a dialog of its own. */
async function saved({ context }: NotebookPanel): Promise<boolean> {
  if (!context.model.dirty || context.contentsModel?.writable === false) {
    return !context.model.dirty;
  }
  return context.save().then(
    () => true,
    () => false
  );
}
