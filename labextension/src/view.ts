/** The view below a guarded cell as data: the JSON that the kernel stores in the output, checked. */

import { isObject, list, number, text, texts } from './api';

export const VIEW_MIME = 'application/vnd.mlguard.view+json';

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

/** The view in `data`, or null where it is none. */
export function readView(data: unknown): CellView | null {
  if (!isObject(data) || !isObject(data.headline)) {
    return null;
  }
  const { headline } = data;
  const outcome = text(data.outcome);
  return {
    name: text(data.name) || null,
    line: text(data.line),
    outcome,
    isRunning: outcome === 'running' || outcome === 'waiting',
    startedWall: number(data.started_wall),
    asOfWall: number(data.as_of_wall),
    elapsed: number(data.elapsed_seconds),
    attempt: number(data.attempt),
    attemptsMax: number(data.attempts_max),
    sign: text(headline.sign),
    headline: pieces(headline.spans),
    devices: list(data.devices).map(readDevice),
    happened: pieces(data.happened),
    notes: texts(data.notes).join(' · '),
    next: pieces(data.next),
    bound: texts(data.bound),
    sentence: text(data.sentence),
    attempts: list(data.attempts).map(readAttempt)
  };
}

/** The pieces of one line. */
function pieces(data: unknown): Span[] {
  return (Array.isArray(data) ? data : [])
    .filter((piece): piece is unknown[] => Array.isArray(piece))
    .map((piece): Span => [text(piece[0]), text(piece[1])]);
}

function readDevice(data: Readonly<Record<string, unknown>>): ViewDevice {
  const kind = text(data.peak_kind);
  return {
    key: text(data.key),
    label: text(data.label),
    used: number(data.used_bytes),
    limit: number(data.limit_bytes),
    stop: number(data.stop_bytes),
    own: number(data.own_bytes),
    peakUsed: number(data.peak_used_bytes),
    peak: number(data.peak_bytes),
    peakKind: kind === 'exact' || kind === 'sampled' ? kind : null,
    note: text(data.note),
    isNoteStrong: data.strong_note === true,
    reason: text(data.reason) || null,
    line: Array.isArray(data.line)
      ? data.line
          .filter((pair): pair is unknown[] => Array.isArray(pair))
          .map(pair => [number(pair[0]) ?? 0, number(pair[1])])
      : []
  };
}

function readAttempt(data: Readonly<Record<string, unknown>>): ViewAttempt {
  return {
    number: number(data.number) ?? 0,
    outcome: text(data.outcome),
    error: text(data.error) || null,
    message: text(data.message),
    line: number(data.line),
    seconds: number(data.seconds),
    waited: number(data.wait_seconds)
  };
}
