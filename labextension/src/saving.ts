/** The readings of a device as a file: CSV for a spreadsheet, JSON for a program. An unknown reading stays empty. */

import { LiveModel } from './model';

export interface SavedFile {
  readonly name: string;
  readonly type: string;
  readonly text: string;
}

/** The whole history of `device` that this page has, oldest first. */
export function savedReadings(
  model: LiveModel,
  device: string,
  format: 'csv' | 'json'
): SavedFile {
  const label = model.device(device)?.label ?? device;
  const rows = model.points.map(point => {
    const gpu = point.gpus.find(other => other.uuid === device);
    return {
      time: new Date(point.wall * 1000).toISOString(),
      used_bytes: device === 'ram' ? point.ram : (gpu?.used ?? null),
      notebook_bytes: model.ownAt(point, device),
      utilisation: gpu?.utilisation ?? null
    };
  });
  const name = `${label.toLowerCase().replace(/\W+/g, '-')}-readings.${format}`;
  if (format === 'json') {
    const text = JSON.stringify({ device: label, id: device, readings: rows }, null, 1);
    return { name, type: 'application/json', text };
  }
  const head = 'time,used_bytes,notebook_bytes,utilisation';
  const lines = rows.map(row =>
    [row.time, row.used_bytes, row.notebook_bytes, row.utilisation]
      .map(value => value ?? '')
      .join(',')
  );
  return { name, type: 'text/csv', text: [head, ...lines, ''].join('\n') };
}

/** Hand `text` to the browser as a download. */
export function saveFile(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
