/** The view below a guarded cell as data: the JSON that the kernel stores in the output, checked and bounded. */

import { isObject, list, number, text, texts } from './api';

export const VIEW_MIME = 'application/vnd.mlguard.view+json';
export const VIEW_VERSION = 1;

/** Far more than a kernel of ours ever sends: what a page can draw at once, whatever it is sent. */
const LONGEST_TEXT = 2000;
const MOST_ENTRIES = 1000;

export type Peak = 'exact' | 'sampled' | null;

/** A piece of a line: "strong", "quiet", "code" or "" for plain. */
export type Span = readonly [style: string, text: string];

/**
 * One row of bars: a device with what the cell did to it. Sizes are bytes, null where not known. `peak` is this
 * kernel's own, `peakUsed` everybody's at that time.
 */
export interface ViewDevice {
  readonly key: string;
  readonly label: string;
  readonly used: number | null;
  readonly limit: number | null;
  readonly stop: number | null;
  readonly own: number | null;
  readonly peakUsed: number | null;
  readonly peak: number | null;
  readonly peakKind: Peak;
  readonly note: string;
  readonly isNoteStrong: boolean;
  readonly reason: string | null;
  readonly line: readonly (readonly [number, number | null])[];
}

/** One attempt as it went. */
export interface ViewAttempt {
  readonly number: number;
  readonly outcome: string;
  readonly error: string | null;
  readonly message: string;
  readonly line: number | null;
  readonly seconds: number | null;
  readonly waited: number | null;
}

/** Everything that the view shows. */
export interface CellView {
  readonly name: string | null;
  readonly line: string;
  readonly outcome: string;
  readonly isRunning: boolean;
  readonly startedWall: number | null;
  readonly asOfWall: number | null;
  readonly elapsed: number | null;
  readonly attempt: number | null;
  readonly attemptsMax: number | null;
  readonly sign: string;
  readonly headline: readonly Span[];
  readonly devices: readonly ViewDevice[];
  readonly happened: readonly Span[];
  readonly notes: string;
  readonly next: readonly Span[];
  readonly bound: readonly string[];
  readonly sentence: string;
  readonly attempts: readonly ViewAttempt[];
}

/** The version of the data in `data`, null where it has none. */
export function versionOf(data: unknown): number | null {
  return isObject(data) ? number(data.version) : null;
}

/** The view in `data`, or null where it is none that this page can read. */
export function readView(data: unknown): CellView | null {
  if (!isObject(data) || !isObject(data.headline) || versionOf(data) !== VIEW_VERSION) {
    return null;
  }
  const { headline } = data;
  const outcome = short(data.outcome);
  return {
    name: short(data.name) || null,
    line: short(data.line),
    outcome,
    isRunning: outcome === 'running' || outcome === 'waiting',
    startedWall: number(data.started_wall),
    asOfWall: number(data.as_of_wall),
    elapsed: number(data.elapsed_seconds),
    attempt: number(data.attempt),
    attemptsMax: number(data.attempts_max),
    sign: short(headline.sign),
    headline: pieces(headline.spans),
    devices: list(first(data.devices)).map(readDevice),
    happened: pieces(data.happened),
    notes: short(texts(first(data.notes)).join(' · ')),
    next: pieces(data.next),
    bound: texts(first(data.bound)).map(short),
    sentence: short(data.sentence),
    attempts: list(first(data.attempts)).map(readAttempt)
  };
}

function short(value: unknown): string {
  return text(value).slice(0, LONGEST_TEXT);
}

/** The first entries of a list; none where `data` is no list. */
function first(data: unknown): readonly unknown[] {
  return Array.isArray(data) ? data.slice(0, MOST_ENTRIES) : [];
}

/** A size; less than nothing is as good as not known. */
function bytes(value: unknown): number | null {
  const size = number(value);
  return size !== null && size >= 0 ? size : null;
}

/** The pieces of one line. */
function pieces(data: unknown): Span[] {
  return first(data)
    .filter((piece): piece is unknown[] => Array.isArray(piece))
    .map((piece): Span => [short(piece[0]), short(piece[1])]);
}

function readDevice(data: Readonly<Record<string, unknown>>): ViewDevice {
  const kind = short(data.peak_kind);
  return {
    key: short(data.key),
    label: short(data.label),
    used: bytes(data.used_bytes),
    limit: bytes(data.limit_bytes),
    stop: bytes(data.stop_bytes),
    own: bytes(data.own_bytes),
    peakUsed: bytes(data.peak_used_bytes),
    peak: bytes(data.peak_bytes),
    peakKind: kind === 'exact' || kind === 'sampled' ? kind : null,
    note: short(data.note),
    isNoteStrong: data.strong_note === true,
    reason: short(data.reason) || null,
    line: first(data.line)
      .filter((pair): pair is unknown[] => Array.isArray(pair))
      .map(pair => [number(pair[0]) ?? 0, number(pair[1])])
  };
}

function readAttempt(data: Readonly<Record<string, unknown>>): ViewAttempt {
  return {
    number: number(data.number) ?? 0,
    outcome: short(data.outcome),
    error: short(data.error) || null,
    message: short(data.message),
    line: number(data.line),
    seconds: number(data.seconds),
    waited: number(data.wait_seconds)
  };
}
