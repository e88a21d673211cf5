/** What this page knows: the last sample, who holds it, the history, and which notebook is in front. */

import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';
import type {
  GpuNow,
  Hello,
  Holders,
  KernelNow,
  Measured,
  Point,
  Sample,
  ServerMessage
} from './messages';
import { timeTo, type Forecast, type Reading } from './forecast';
import type { Level } from './signs';
import type { Connection, Stream } from './stream';

export const RAM = 'ram';
const STALE_SECONDS = 5;
const POINT_SECONDS = 0.9;
const MOST_POINTS = 3600;

/** A device as every view shows it. `key` is "ram" or the UUID. */
export interface Device {
  readonly key: string;
  readonly label: string;
  readonly used: Measured;
  readonly limit: Measured;
  readonly gpu: GpuNow | null;
  readonly lost: Loss | null;
}

/** Whether a device answers and has no memory to tell of (it shares the machine's): nothing is lost or broken. */
export function sharesMemory({ gpu, used, limit, lost }: Device): boolean {
  const answers = gpu !== null && (gpu.utilisation.value ?? gpu.temperature.value) !== null;
  return answers && lost === null && used.value === null && limit.value === null;
}

/** What was last known of a device that gives no reading any more; `wall` is when. */
export interface Loss {
  readonly wall: number;
  readonly used: number;
}

/** Shares of the real limit from which a sign is shown. */
export interface Thresholds {
  readonly warning: number;
  readonly critical: number;
}

/** Holds state and says when it changed; draws nothing. */
export class LiveModel implements IDisposable {
  constructor(private readonly stream: Stream) {
    stream.heard.connect(this.hear, this);
    stream.connectionChanged.connect(this.notify, this);
    this._timer = window.setInterval(() => this.grow(), 1000);
  }

  hello: Hello | null = null;
  sample: Sample | null = null;
  holders: Holders | null = null;
  points: Point[] = [];
  thresholds: Thresholds = { warning: 0.8, critical: 0.95 };

  /** The kernel of the notebook in front, null without one. */
  kernelId: string | null = null;

  /** Emitted for every sample and every change of state; views draw at their own pace. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get connection(): Connection {
    return this.stream.connection;
  }

  /** Milliseconds since the epoch of the next try to connect, null while connected. */
  get nextTry(): number | null {
    return this.stream.nextTry;
  }

  /** Seconds since the last sample, null before the first one. */
  get age(): number | null {
    return this._heardAt === null
      ? null
      : (performance.now() - this._heardAt) / 1000;
  }

  /** Whether the last sample is too old to be called the present. */
  get isStale(): boolean {
    return this.sample !== null && (this.age ?? 0) > STALE_SECONDS;
  }

  /** GPUs first, then RAM, as the panel shows them. */
  get devices(): readonly Device[] {
    const sample = this.sample;
    return sample === null
      ? []
      : [...this.gpuDevices(sample), ramDevice(sample)];
  }

  /** This notebook's kernel, null where none runs or nobody has looked yet. */
  get kernel(): KernelNow | null {
    return (
      this.holders?.kernels.find(
        kernel => kernel.kernel_id === this.kernelId
      ) ?? null
    );
  }

  /** The device by its key; the first one where that is gone. */
  device(key: string | null): Device | null {
    const devices = this.devices;
    return devices.find(device => device.key === key) ?? devices[0] ?? null;
  }

  /** What this notebook, the other notebooks and everybody else hold on a device; null where that is not known. */
  parts(key: string): Parts {
    const rows = this.holders?.kernels ?? [];
    const mine = rows.find(row => row.kernel_id === this.kernelId);
    const used = this.device(key)?.used.value ?? null;
    const own = mine ? heldOn(mine, key).value : null;
    const others = rows.filter(row => row !== mine);
    const notebooks = others.reduce(
      (sum, row) => sum + (heldOn(row, key).value ?? 0),
      0
    );
    const processes =
      used === null ? null : Math.max(0, used - (own ?? 0) - notebooks);
    return { own, notebooks, processes };
  }

  /** Everybody's use of a device over time. */
  readings(key: string, seconds: number): readonly Reading[] {
    return this.recent(seconds).map(point => [
      point.wall,
      key === RAM
        ? point.ram
        : (point.gpus.find(gpu => gpu.uuid === key)?.used ?? null)
    ]);
  }

  /** What this notebook's kernel held over time; null where nobody looked. */
  ownReadings(key: string, seconds: number): readonly Reading[] {
    return this.recent(seconds).map(point => [
      point.wall,
      this.ownAt(point, key)
    ]);
  }

  /** A device's utilisation over time, as a fraction. */
  utilisation(key: string, seconds: number): readonly Reading[] {
    return this.recent(seconds).map(point => [
      point.wall,
      point.gpus.find(gpu => gpu.uuid === key)?.utilisation ?? null
    ]);
  }

  /** What this notebook's kernel held at `point`. */
  ownAt(point: Point, key: string): number | null {
    const kernel = point.kernels.find(
      other => other.kernel_id === this.kernelId
    );
    if (kernel === undefined || key === RAM) {
      return kernel?.ram ?? null;
    }
    return kernel.gpus.find(gpu => gpu.uuid === key)?.used ?? null;
  }

  /** The points of the last `seconds`, oldest first. */
  recent(seconds: number): readonly Point[] {
    const now = this.sample?.wall ?? 0;
    const from = this.points.findIndex(point => point.wall >= now - seconds);
    return from < 0 ? [] : this.points.slice(from);
  }

  /** When a device is as full as `end` (null: its limit), null where it does not rise steadily. */
  forecast(key: string, end: number | null = null): Forecast | null {
    const limit = end ?? this.device(key)?.limit.value ?? null;
    return this.isStale ? null : timeTo(limit, this.readings(key, 30));
  }

  /** How near its limit a device is. */
  level(device: Device): Level {
    const share = shareOf(device);
    if (share === null || share < this.thresholds.warning) {
      return 'ok';
    }
    return share >= this.thresholds.critical ? 'critical' : 'warning';
  }

  /** Try to connect now. */
  reconnect(): void {
    this.stream.connect();
  }

  /** Tell every view that something it draws has changed. */
  notify(): void {
    this._changed.emit();
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      window.clearInterval(this._timer);
      Signal.clearData(this);
    }
  }

  private hear(_: Stream, message: ServerMessage): void {
    switch (message.kind) {
      case 'hello':
        this.hello = message;
        break;
      case 'history':
        this.points = [...message.points];
        break;
      case 'holders':
        this.holders = message;
        break;
      case 'sample':
        this.sample = message;
        this._heardAt = performance.now();
        this.know(message);
        this.remember(message);
        break;
    }
    this.notify();
  }

  /** A device that is lost keeps its size: only what is in use is not known. */
  private gpuDevices(sample: Sample): Device[] {
    return sample.gpus.map(gpu => {
      const known = this._known.get(gpu.uuid);
      const isLost = gpu.used.value === null && known !== undefined;
      return {
        key: gpu.uuid,
        label: gpu.mig ? sliceName(gpu) : `GPU ${gpu.index}`,
        used: gpu.used,
        limit:
          gpu.total.value === null && known
            ? { value: known.limit, reason: null }
            : gpu.total,
        gpu,
        lost: isLost ? known : null
      };
    });
  }

  private know(sample: Sample): void {
    for (const { uuid, used, total } of sample.gpus) {
      if (used.value !== null && total.value !== null) {
        this._known.set(uuid, {
          wall: sample.wall,
          used: used.value,
          limit: total.value
        });
      }
    }
  }

  private remember(sample: Sample): void {
    const last = this.points[this.points.length - 1];
    const gone = last === undefined ? Infinity : sample.wall - last.wall;
    if (gone >= 0 && gone < POINT_SECONDS) {
      return;
    }
    this.points.push({
      wall: sample.wall,
      ram: sample.ram.used.value,
      gpus: sample.gpus.map(({ uuid, used, utilisation }) => ({
        uuid,
        used: used.value,
        utilisation: utilisation.value
      })),
      kernels: (this.holders?.kernels ?? []).map(row => ({
        kernel_id: row.kernel_id,
        ram: row.ram.value,
        gpus: row.gpus.map(({ uuid, used }) => ({
          uuid,
          used: used.value,
          utilisation: null
        }))
      }))
    });
    this.points.splice(0, this.points.length - MOST_POINTS);
  }

  /** Without samples nothing else would say that the last one grows old. */
  private grow(): void {
    if (this.sample === null || this.isStale || this.nextTry !== null) {
      this.notify();
    }
  }

  private readonly _known = new Map<string, Loss & { limit: number }>();
  private _heardAt: number | null = null;
  private _isDisposed = false;
  private readonly _timer: number;
  private readonly _changed = new Signal<this, void>(this);
}

/** A device's use, divided; `own` is null where this notebook's part is not known. */
export interface Parts {
  readonly own: number | null;
  readonly notebooks: number;
  readonly processes: number | null;
}

/** What a kernel or another row of the ledger holds on a device. */
export function heldOn(
  row: Pick<KernelNow, 'ram' | 'gpus'>,
  key: string
): Measured {
  if (key === RAM) {
    return row.ram;
  }
  return (
    row.gpus.find(held => held.uuid === key)?.used ?? {
      value: null,
      reason: 'this device was not there when the processes were looked at'
    }
  );
}

/** Used of limit, null where either is not known. */
export function shareOf(device: Device): number | null {
  const [used, limit] = [device.used.value, device.limit.value];
  return used === null || !limit ? null : used / limit;
}

/** "3g.40gb" of "NVIDIA A100-SXM4-80GB MIG 3g.40gb". */
function sliceName(gpu: GpuNow): string {
  return /MIG (\S+)/.exec(gpu.name)?.[1] ?? `MIG ${gpu.index}`;
}

function ramDevice(sample: Sample): Device {
  const { used, limit } = sample.ram;
  return { key: RAM, label: 'RAM', used, limit, gpu: null, lost: null };
}
