/** The messages between server and page. Written by mlguard_nb/telemetry/wire.py: do not edit. */

/** A number, or null and why. */
export interface Measured {
  readonly value: number | null;
  readonly reason: string | null;
}

/** Host memory against the limit that is hit first; both numbers belong to `source`. */
export interface RamNow {
  readonly used: Measured;
  readonly limit: Measured;
  readonly source: 'container' | 'machine';
}

/** One accelerator or MIG slice, with everybody's use of it. `utilisation` is a fraction, power is in watts. */
export interface GpuNow {
  readonly uuid: string;
  readonly index: number;
  readonly name: string;
  readonly mig: boolean;
  readonly used: Measured;
  readonly total: Measured;
  readonly utilisation: Measured;
  readonly temperature: Measured;
  readonly power: Measured;
  readonly power_limit: Measured;
}

/** What somebody holds on the device `uuid`. */
export interface Held {
  readonly uuid: string;
  readonly used: Measured;
}

/** One kernel with its children. `path` is null where no notebook is attached; `elsewhere` says why it has no pid. */
export interface KernelNow {
  readonly kernel_id: string;
  readonly name: string;
  readonly path: string | null;
  readonly state: string;
  readonly last_activity: number | null;
  readonly pid: number | null;
  readonly elsewhere: string | null;
  readonly visible: readonly string[] | null;
  readonly ram: Measured;
  readonly gpus: readonly Held[];
}

/** One row of the ledger that is no kernel. Another user's processes are counted, never named. */
export interface OtherNow {
  readonly who: 'server' | 'other_users' | 'not_attributed' | 'rest';
  readonly count: number | null;
  readonly ram: Measured;
  readonly gpus: readonly Held[];
}

/** A device in a point of the history. */
export interface DevicePoint {
  readonly uuid: string;
  readonly used: number | null;
  readonly utilisation: number | null;
}

/** A kernel in a point of the history: its host memory, and its memory on each device. */
export interface KernelPoint {
  readonly kernel_id: string;
  readonly ram: number | null;
  readonly gpus: readonly DevicePoint[];
}

/** One second of the history; null where there was no reading. */
export interface Point {
  readonly wall: number;
  readonly ram: number | null;
  readonly gpus: readonly DevicePoint[];
  readonly kernels: readonly KernelPoint[];
}

/** A %%guard line as the parser read it: badge phrases and policy, or the error and where in the line it is. */
export interface DirectiveRead {
  readonly line: string;
  readonly phrases: readonly string[];
  readonly policy: Readonly<Record<string, unknown>> | null;
  readonly error: string | null;
  readonly hint: string | null;
  readonly span: readonly number[] | null;
}

/** What the export found out about one place of the notebook: a Diagnostic of the converter. */
export interface Finding {
  readonly code: string;
  readonly level: 'error' | 'warning' | 'note';
  readonly cell: number | null;
  readonly line: number | null;
  readonly message: string;
  readonly next_step: string;
  readonly remedies: readonly ('skip_bad_cells' | 'order' | 'allow_shell' | 'pack_data' | 'output' | 'force')[];
}

/** What the export's own process holds with its children on one device, and the size of that device. */
export interface ExportGpu {
  readonly index: number;
  readonly name: string;
  readonly mig: boolean;
  readonly held: Measured;
  readonly total: Measured;
}

/** What the export's own process holds with its children, held at most so far, and may hold (null: nobody knows). */
export interface ExportMemory {
  readonly held: number;
  readonly peak: number;
  readonly most: number | null;
  readonly gpus: readonly ExportGpu[];
}

/** The first message of a stream. Intervals are seconds; the server never sends faster than the minimum. */
export interface Hello {
  readonly kind: 'hello';
  readonly version: string;
  readonly host: string;
  readonly interval: number;
  readonly minimum_interval: number;
}

/** What the server kept, oldest first; sent to a page that connects, and again when it asks for more. */
export interface History {
  readonly kind: 'history';
  readonly points: readonly Point[];
}

/** All devices at one instant. `gpus` is empty where there are none, and then `gpus_reason` may say why. */
export interface Sample {
  readonly kind: 'sample';
  readonly wall: number;
  readonly ram: RamNow;
  readonly gpus: readonly GpuNow[];
  readonly gpus_reason: string | null;
}

/** Who holds it: each column of kernels and others adds up to the device. */
export interface Holders {
  readonly kind: 'holders';
  readonly wall: number;
  readonly kernels: readonly KernelNow[];
  readonly others: readonly OtherNow[];
}

/** From a kernel, over a comm: the machine as it stands there, and what the kernel holds by its own counters. */
export interface KernelAccount {
  readonly kind: 'account';
  readonly host: string;
  readonly sample: Sample;
  readonly ram: Measured;
  readonly gpus: readonly Held[];
}

/** From a page: whether its panel is on screen, the seconds between samples and the seconds of history it wants. */
export interface Watch {
  readonly kind: 'watch';
  readonly panel: boolean;
  readonly interval: number | null;
  readonly history: number | null;
}

/** From a page to a kernel, with the comm it opens for accounts: the comm its tab had before it was reloaded. */
export interface Ask {
  readonly kind: 'ask';
  readonly instead_of: string | null;
}

export type ServerMessage = Hello | History | Sample | Holders | KernelAccount;

export type ClientMessage = Watch | Ask;

/** The type of every field: what comes from a server is compared with it before it is believed. */
export const SHAPES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Measured: { value: "number | null", reason: "string | null" },
  RamNow: { used: "Measured", limit: "Measured", source: "'container' | 'machine'" },
  GpuNow: { uuid: "string", index: "number", name: "string", mig: "boolean", used: "Measured", total: "Measured", utilisation: "Measured", temperature: "Measured", power: "Measured", power_limit: "Measured" },
  Held: { uuid: "string", used: "Measured" },
  KernelNow: { kernel_id: "string", name: "string", path: "string | null", state: "string", last_activity: "number | null", pid: "number | null", elsewhere: "string | null", visible: "readonly string[] | null", ram: "Measured", gpus: "readonly Held[]" },
  OtherNow: { who: "'server' | 'other_users' | 'not_attributed' | 'rest'", count: "number | null", ram: "Measured", gpus: "readonly Held[]" },
  DevicePoint: { uuid: "string", used: "number | null", utilisation: "number | null" },
  KernelPoint: { kernel_id: "string", ram: "number | null", gpus: "readonly DevicePoint[]" },
  Point: { wall: "number", ram: "number | null", gpus: "readonly DevicePoint[]", kernels: "readonly KernelPoint[]" },
  DirectiveRead: { line: "string", phrases: "readonly string[]", policy: "Readonly<Record<string, unknown>> | null", error: "string | null", hint: "string | null", span: "readonly number[] | null" },
  Finding: { code: "string", level: "'error' | 'warning' | 'note'", cell: "number | null", line: "number | null", message: "string", next_step: "string", remedies: "readonly ('skip_bad_cells' | 'order' | 'allow_shell' | 'pack_data' | 'output' | 'force')[]" },
  ExportGpu: { index: "number", name: "string", mig: "boolean", held: "Measured", total: "Measured" },
  ExportMemory: { held: "number", peak: "number", most: "number | null", gpus: "readonly ExportGpu[]" },
  Hello: { kind: "'hello'", version: "string", host: "string", interval: "number", minimum_interval: "number" },
  History: { kind: "'history'", points: "readonly Point[]" },
  Sample: { kind: "'sample'", wall: "number", ram: "RamNow", gpus: "readonly GpuNow[]", gpus_reason: "string | null" },
  Holders: { kind: "'holders'", wall: "number", kernels: "readonly KernelNow[]", others: "readonly OtherNow[]" },
  KernelAccount: { kind: "'account'", host: "string", sample: "Sample", ram: "Measured", gpus: "readonly Held[]" }
};

/** The shape of each kind of message. */
export const KINDS: Readonly<Record<string, string>> = { hello: 'Hello', history: 'History', sample: 'Sample', holders: 'Holders', account: 'KernelAccount' };
