/** What this page knows: the last sample, who holds it, the history, and which notebook is in front. */

import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';
import type {
  DevicePoint,
  GpuNow,
  Held,
  Hello,
  Holders,
  KernelAccount,
  KernelNow,
  Measured,
  OtherNow,
  Point,
  Sample,
  ServerMessage
} from './messages';
import { STEADY_SECONDS, timeTo, type Forecast, type Reading } from './forecast';
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
  thresholds: Thresholds = { warning: 0.8, critical: 0.95 };

  /** The kernel of the notebook in front, null without one. */
  kernelId: string | null = null;

  /** The devices now: those of the server's machine, or of the kernel's where that is another one and tells of them. */
  get sample(): Sample | null {
    return this.remote?.account.sample ?? this._sample;
  }

  /** The name of that machine where it is not the server's, else null. */
  get host(): string | null {
    return this.remote?.account.host ?? null;
  }

  /** The readings of that machine, oldest first. */
  get points(): readonly Point[] {
    return this.remote?.points ?? this._points;
  }

  /** Who holds the memory of that machine. What this notebook's kernel counts itself stands where nobody else knows. */
  get holders(): Holders | null {
    const row = this.row;
    const told = this.told;
    if (this._holders === null || row === null || told === null) {
      return this._holders;
    }
    const own = { ...row, ...merged(row, told.account) };
    return row.elsewhere === null
      ? { ...this._holders, kernels: this._holders.kernels.map(other => (other === row ? own : other)) }
      : alone(own, told.account, this._holders);
  }

  /** What the kernel of the notebook in front said last, null where it does not have to or does not. */
  get account(): KernelAccount | null {
    return this.told?.account ?? null;
  }

  /** Whether it speaks, and this page does not understand it. */
  get isAccountUnreadable(): boolean {
    return this.asksKernel && this._unreadable.has(this.kernelId ?? '');
  }

  /** Whether only the kernel of the notebook in front can say what it holds: another host, foreign process ids. */
  get asksKernel(): boolean {
    const row = this.row;
    return row !== null && (row.elsewhere !== null || this.isForeign);
  }

  /** Whether the driver counts processes by numbers that mean nothing here, so that nobody knows whose they are. */
  get isForeign(): boolean {
    return this.row?.gpus.some(({ used }) => used.reason?.includes('--pid=host')) ?? false;
  }

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
    const heardAt = this.remote?.heardAt ?? this._heardAt;
    return heardAt === null ? null : (performance.now() - heardAt) / 1000;
  }

  /** Whether the last sample is too old to be called the present. */
  get isStale(): boolean {
    return this.sample !== null && (this.age ?? 0) > STALE_SECONDS;
  }

  /** GPUs first, then RAM, as the panel shows them. */
  get devices(): readonly Device[] {
    const sample = this.sample;
    if (sample !== this._devices.of) {
      this._devices = {
        of: sample,
        all: sample === null ? [] : [...this.gpuDevices(sample), ramDevice(sample)]
      };
    }
    return this._devices.all;
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
    return this.recent(seconds).map(point => [point.wall, usedAt(point, key)]);
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
    const points = this.points;
    const since = (this.sample?.wall ?? 0) - seconds;
    let from = points.length;
    while ((points[from - 1]?.wall ?? -Infinity) >= since) {
      from -= 1;
    }
    return points.slice(from);
  }

  /** When a device is as full as `end` (null: its limit), null where it does not rise steadily. */
  forecast(key: string, end: number | null = null): Forecast | null {
    if (!this.hasRisen(key)) {
      return null; // most devices, most of the time: nothing has to be fitted
    }
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
        this._points = [...message.points];
        break;
      case 'holders':
        this._holders = message;
        break;
      case 'sample':
        this._sample = message;
        this._heardAt = performance.now();
        this.know(message);
        remember(this._points, message, this._holders?.kernels ?? []);
        break;
    }
    this.notify();
  }

  /** What a kernel says of its own machine, or something that is no account; null: it says no more. */
  hearKernel(kernelId: string, account: KernelAccount | 'unreadable' | null): void {
    this._unreadable.delete(kernelId);
    if (account === null) {
      this._told.delete(kernelId);
    } else if (account === 'unreadable') {
      this._unreadable.add(kernelId);
    } else {
      const points = this._told.get(kernelId)?.points ?? [];
      this._told.set(kernelId, { account, points, heardAt: performance.now() });
      this.know(account.sample);
      remember(points, account.sample, [{ kernel_id: kernelId, ram: account.ram, gpus: account.gpus }]);
    }
    this.notify();
  }

  /** Whether more of a device is in use than when the time began that a forecast is made from. */
  private hasRisen(key: string): boolean {
    const points = this.points;
    const last = points[points.length - 1];
    let from = points.length - 1;
    while (from > 0 && (points[from - 1]?.wall ?? -Infinity) >= (last?.wall ?? 0) - STEADY_SECONDS) {
      from -= 1;
    }
    const first = points[from];
    return last !== undefined && first !== undefined && (usedAt(last, key) ?? 0) > (usedAt(first, key) ?? 0);
  }

  /** The row of this notebook's kernel as the server sees it. */
  private get row(): KernelNow | null {
    return this._holders?.kernels.find(kernel => kernel.kernel_id === this.kernelId) ?? null;
  }

  private get told(): Told | null {
    return (this.asksKernel && this._told.get(this.kernelId ?? '')) || null;
  }

  /** The same where the kernel's machine is another one than the server's. */
  private get remote(): Told | null {
    return this.row?.elsewhere == null ? null : this.told;
  }

  /** A device that is lost keeps its size: only what is in use is not known. */
  private gpuDevices(sample: Sample): Device[] {
    return sample.gpus.map(gpu => {
      const known = this._known.get(gpu.uuid);
      const isLost = gpu.used.value === null && known !== undefined;
      return {
        key: gpu.uuid,
        label: gpuLabel(gpu),
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

  /** Without samples nothing else would say that the last one grows old. */
  private grow(): void {
    if (this.sample === null || this.isStale || this.nextTry !== null) {
      this.notify();
    }
  }

  private _sample: Sample | null = null;
  private _devices: { of: Sample | null; all: readonly Device[] } = { of: null, all: [] };
  private _holders: Holders | null = null;
  private _points: Point[] = [];
  private readonly _told = new Map<string, Told>();
  private readonly _unreadable = new Set<string>();
  private readonly _known = new Map<string, Loss & { limit: number }>();
  private _heardAt: number | null = null;
  private _isDisposed = false;
  private readonly _timer: number;
  private readonly _changed = new Signal<this, void>(this);
}

/** What a kernel said last, when this page heard it, and what it said before. */
interface Told {
  readonly account: KernelAccount;
  readonly points: Point[];
  readonly heardAt: number;
}

/** Everybody's use of a device at `point`. */
function usedAt(point: Point, key: string): number | null {
  return key === RAM ? point.ram : (point.gpus.find(gpu => gpu.uuid === key)?.used ?? null);
}

type Holding = Pick<KernelNow, 'kernel_id' | 'ram' | 'gpus'>;

/** Add `sample` to the points of the last hour, unless one has just been added. */
function remember(points: Point[], sample: Sample, kernels: readonly Holding[]): void {
  const last = points[points.length - 1];
  const gone = last === undefined ? Infinity : sample.wall - last.wall;
  if (gone >= 0 && gone < POINT_SECONDS) {
    return;
  }
  const onDevice = ({ uuid, used }: Held): DevicePoint => ({ uuid, used: used.value, utilisation: null });
  points.push({
    wall: sample.wall,
    ram: sample.ram.used.value,
    gpus: sample.gpus.map(gpu => ({ ...onDevice(gpu), utilisation: gpu.utilisation.value })),
    kernels: kernels.map(row => ({
      kernel_id: row.kernel_id,
      ram: row.ram.value,
      gpus: row.gpus.map(onDevice)
    }))
  });
  points.splice(0, points.length - MOST_POINTS);
}

/** What a kernel holds: as the server sees it, and where that cannot, as the kernel counts itself. */
function merged(row: KernelNow, account: KernelAccount): Pick<KernelNow, 'ram' | 'gpus'> {
  if (row.elsewhere !== null) {
    return { ram: account.ram, gpus: account.gpus };
  }
  return {
    ram: row.ram.value === null ? account.ram : row.ram,
    gpus: row.gpus.map(held =>
      held.used.value === null ? (account.gpus.find(({ uuid }) => uuid === held.uuid) ?? held) : held
    )
  };
}

/** The ledger of another machine: this kernel, and everybody whom it cannot name. */
function alone(own: KernelNow, { sample, gpus }: KernelAccount, { kind }: Holders): Holders {
  const rest = (used: Measured, held: Measured): Measured =>
    used.value === null ? used : { value: Math.max(0, used.value - (held.value ?? 0)), reason: null };
  const unknown: Measured = { value: null, reason: null };
  const others: OtherNow = {
    who: 'rest',
    count: null,
    ram: rest(sample.ram.used, own.ram),
    gpus: sample.gpus.map(({ uuid, used }) => ({
      uuid,
      used: rest(used, gpus.find(held => held.uuid === uuid)?.used ?? unknown)
    }))
  };
  return { kind, wall: sample.wall, kernels: [own], others: [others] };
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

/** "GPU 0"; of a slice "3g.40gb", as in "NVIDIA A100-SXM4-80GB MIG 3g.40gb". */
export function gpuLabel({ name, index, mig }: Pick<GpuNow, 'name' | 'index' | 'mig'>): string {
  return mig ? (/MIG (\S+)/.exec(name)?.[1] ?? `MIG ${index}`) : `GPU ${index}`;
}

function ramDevice(sample: Sample): Device {
  const { used, limit } = sample.ram;
  return { key: RAM, label: 'RAM', used, limit, gpu: null, lost: null };
}
