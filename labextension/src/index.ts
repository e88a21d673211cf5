/** The plugins, and nothing but their wiring. Every token is optional where an application may lack it. */

import {
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { LabIcon, MenuSvg } from '@jupyterlab/ui-components';
import { Announcer } from './announce';
import { Badges } from './badge';
import { Exporter } from './exportCommand';
import { GuardForm } from './form';
import { ILive, makeLive } from './live';
import { GuardPanel } from './panel';
import { rememberSettings } from './remember';
import { viewRendererFactory } from './renderer';
import { Releaser } from './release';
import { savedReadings, saveFile } from './saving';
import { applySettings } from './settings';
import { standInForSilentKernels } from './standIn';
import { StatusItem } from './status';
import { Stopper } from './stop';
import { CHIP } from './icon';

const ID = 'mlguard-nb';
const icon = new LabIcon({ name: 'mlguard:chip', svgstr: CHIP });
const NO_ARGUMENTS = { args: { type: 'object', properties: {} } };

const live: JupyterFrontEndPlugin<ILive> = {
  id: `${ID}:live`,
  description: 'The live readings of this page, and the notebook in front.',
  autoStart: true,
  provides: ILive,
  optional: [INotebookTracker, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker | null,
    translator: ITranslator | null
  ) =>
    makeLive(
      app.serviceManager.serverSettings,
      tracker,
      (translator ?? nullTranslator).load('mlguard_nb')
    )
};

const panel: JupyterFrontEndPlugin<void> = {
  id: `${ID}:plugin`,
  description: 'The GPU and memory panel, its commands and its settings.',
  autoStart: true,
  requires: [ILive],
  optional: [ICommandPalette, ISettingRegistry, ILayoutRestorer, IStatusBar],
  activate: (
    app: JupyterFrontEnd,
    { model, stream, front, trans }: ILive,
    palette: ICommandPalette | null,
    registry: ISettingRegistry | null,
    restorer: ILayoutRestorer | null,
    statusBar: IStatusBar | null
  ) => {
    const { commands } = app;
    const menu = new MenuSvg({ commands });
    const save = (format: 'csv' | 'json'): void => {
      const file = savedReadings(model, widget.chosen, format);
      saveFile(file.name, file.type, file.text);
    };
    const releaser = new Releaser(app.serviceManager, model, trans, front);
    const widget = new GuardPanel({
      model,
      stream,
      front,
      trans,
      actions: {
        open: path => void commands.execute('docmanager:open', { path }),
        menu: event => menu.open(event.clientX, event.clientY),
        save,
        release: kernelId => void releaser.start(kernelId)
      }
    });
    widget.title.icon = icon;
    widget.title.caption = trans.__('GPU and memory');

    commands.addCommand('mlguard:show-panel', {
      label: trans.__('GPU and memory panel'),
      describedBy: NO_ARGUMENTS,
      execute: () => {
        if (!widget.isAttached) {
          app.shell.add(widget, 'right', { rank: 500 });
        }
        app.shell.activateById(widget.id);
      }
    });
    for (const format of ['csv', 'json'] as const) {
      commands.addCommand(`mlguard:save-${format}`, {
        label: trans.__('Save readings as %1', format.toUpperCase()),
        describedBy: NO_ARGUMENTS,
        isEnabled: () => model.points.length > 0,
        execute: () => save(format)
      });
      menu.addItem({ command: `mlguard:save-${format}` });
      palette?.addItem({ command: `mlguard:save-${format}`, category: 'mlguard' });
    }
    commands.addCommand('mlguard:settings', {
      label: trans.__('Settings'),
      describedBy: NO_ARGUMENTS,
      isVisible: () => commands.hasCommand('settingeditor:open'),
      execute: () => commands.execute('settingeditor:open', { query: 'mlguard' })
    });
    menu.addItem({ command: 'mlguard:settings' });
    palette?.addItem({ command: 'mlguard:show-panel', category: 'mlguard' });

    app.shell.add(widget, 'right', { rank: 500 });
    restorer?.add(widget, widget.id);
    const status = new StatusItem(model, trans, () => {
      void commands.execute('mlguard:show-panel');
    });
    statusBar?.registerStatusItem(`${ID}:status`, {
      item: status,
      align: 'right',
      rank: 100,
      isActive: () => status.isWanted,
      activeStateChanged: status.wantedChanged
    });
    const announcer = new Announcer(model, front, trans);
    widget.disposed.connect(() => announcer.dispose());
    void applySettings(registry, panel.id, { model, widget, status, announcer });
  }
};

const exporting: JupyterFrontEndPlugin<void> = {
  id: `${ID}:export`,
  description: 'Export of the notebook in front as a Python package.',
  autoStart: true,
  requires: [ILive],
  optional: [ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    { api, front, trans }: ILive,
    palette: ICommandPalette | null
  ) => {
    const exporter = new Exporter(app, api, front, trans);
    app.commands.addCommand('mlguard:export', {
      label: trans.__('Export as package'),
      caption: trans.__('Export this notebook as a Python package'),
      describedBy: NO_ARGUMENTS,
      isEnabled: () => front.panel !== null,
      execute: () => exporter.start()
    });
    front.changed.connect(() => app.commands.notifyCommandChanged('mlguard:export'));
    palette?.addItem({ command: 'mlguard:export', category: 'mlguard' });
  }
};

const badges: JupyterFrontEndPlugin<void> = {
  id: `${ID}:badges`,
  description: 'A badge on every guarded cell, and the form behind it.',
  autoStart: true,
  requires: [ILive],
  optional: [INotebookTracker, ISettingRegistry],
  activate: (
    _app: JupyterFrontEnd,
    { reader, model, front, trans }: ILive,
    tracker: INotebookTracker | null,
    registry: ISettingRegistry | null
  ) => {
    const form = new GuardForm({ reader, model, front, trans, registry, plugin: panel.id });
    tracker?.widgetAdded.connect((_, notebook) => {
      void notebook.revealed.then(
        () => new Badges(notebook, reader, front, trans, (cell, anchor) => form.open(cell, anchor))
      );
    });
  }
};

const renderer: JupyterFrontEndPlugin<void> = {
  id: `${ID}:view`,
  description: 'The view below a guarded cell, with the live feed.',
  autoStart: true,
  requires: [ILive, IRenderMimeRegistry],
  activate: (_app: JupyterFrontEnd, { model, front, reader, trans }: ILive, rendermime: IRenderMimeRegistry) => {
    const tools = { model, stopper: new Stopper(front, trans), trans };
    rendermime.addFactory(viewRendererFactory(tools));
    standInForSilentKernels(front, reader, tools);
  }
};

const remembering: JupyterFrontEndPlugin<void> = {
  id: `${ID}:settings`,
  description: 'The settings of %guard, kept in the metadata of their notebook.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_app: JupyterFrontEnd, tracker: INotebookTracker) => rememberSettings(tracker)
};

const plugins: JupyterFrontEndPlugin<unknown>[] = [live, panel, exporting, badges, renderer, remembering];

export default plugins;
