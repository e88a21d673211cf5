/** The settings as the page uses them; anything out of range falls back to the default. */

import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { number } from './api';
import type { LiveModel } from './model';
import type { Announcer } from './announce';
import type { GuardPanel } from './panel';
import type { StatusItem } from './status';

/** Who is told about a change. */
export interface Listeners {
  readonly model: LiveModel;
  readonly widget: GuardPanel;
  readonly status: StatusItem;
  readonly announcer: Announcer;
}

/** Load the settings and follow them; without a registry the defaults stay. */
export async function applySettings(
  registry: ISettingRegistry | null,
  plugin: string,
  listeners: Listeners
): Promise<void> {
  if (registry === null) {
    return;
  }
  const settings = await registry.load(plugin);
  listeners.widget.keep(settings);
  const apply = (): void => take(settings, listeners);
  settings.changed.connect(apply);
  apply();
}

function take(
  settings: ISettingRegistry.ISettings,
  { model, widget, status, announcer }: Listeners
): void {
  const read = (name: string): unknown => settings.get(name).composite;
  const warning = number(read('warning')) ?? 0.8;
  const critical = number(read('critical')) ?? 0.95;
  model.thresholds = { warning, critical: Math.max(warning, critical) };
  widget.choices = {
    historyView: read('historyView') === 'table' ? 'table' : 'chart',
    historyMinutes: number(read('historyMinutes')) ?? 10,
    showOthers: read('showOthers') !== false,
    interval: number(read('interval')) || null
  };
  announcer.choices = {
    cellSeconds: number(read('notifyCellSeconds')) ?? 60,
    thresholds: read('notifyThresholds') !== false
  };
  status.isWanted = read('statusItem') !== false;
  widget.tell();
  model.notify();
}
