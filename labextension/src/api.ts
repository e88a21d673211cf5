/** The one place that speaks to the server over HTTP, and that checks what comes back. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { KINDS, type DirectiveRead, type ExportMemory, type Finding, type ServerMessage } from './messages';
import { conforms } from './shapes';

/** The server part is not installed or not enabled. */
export class ServerPartMissing extends Error {}

/** One cell or group of cells that becomes a function. */
export interface PlannedStep {
  readonly name: string;
  readonly cells: readonly number[];
  readonly reads: readonly string[];
  readonly gives: readonly string[];
  readonly guards: readonly string[];
}

/** What an export would do; nothing has been written. */
export interface ExportPlan {
  readonly name: string;
  readonly steps: readonly PlannedStep[];
  readonly notes: readonly string[];
  readonly findings: readonly Finding[];
}

/** One final value of the notebook beside the package's. `equal` is null where it was not compared. */
export interface ComparedValue {
  readonly name: string;
  readonly equal: boolean | null;
  readonly how: string;
  readonly detail: string;
  readonly notebook: string;
  readonly package: string;
}

/**
 * What was written, and how the values compare where that was asked for. `kept` are files that were edited by hand
 * since the last export, `left` are such files that it no longer makes; `unstable` are names that differ between two runs of the notebook itself.
 */
export interface ExportResult {
  readonly name: string;
  readonly folder: string;
  readonly files: readonly string[];
  readonly run: string;
  readonly kept: readonly string[];
  readonly left: readonly string[];
  readonly findings: readonly Finding[];
  readonly compared: readonly ComparedValue[] | null;
  readonly notebookSeconds: number | null;
  readonly packageSeconds: number | null;
  readonly notebookPeakBytes: number | null;
  readonly packagePeakBytes: number | null;
  readonly unstable: readonly string[];
  readonly comparisonFailed: string | null;
}

/** Why the notebook cannot be exported. */
export class ExportRefused extends Error {
  constructor(
    message: string,
    readonly findings: readonly Finding[]
  ) {
    super(message);
  }
}

/** What a reader asked the export for; paths are relative to the server's folder. */
export interface ExportOptions {
  readonly path: string;
  readonly output?: string;
  readonly name?: string | null;
  readonly verify?: boolean;
  readonly check?: boolean;
  readonly force?: boolean;
  readonly skip_bad_cells?: boolean;
}

/** How far the converter is. */
export interface Progress {
  readonly text: string;
  readonly done: number;
  readonly of: number;
}

/** What an export says while it runs. */
export type ExportNews = Progress | ExportMemory;

type Json = Readonly<Record<string, unknown>>;

/** A map, since an object knows more names than its own: "constructor". */
const SHAPE_OF_KIND: ReadonlyMap<unknown, string> = new Map(Object.entries(KINDS));

/** A message of the stream, or null for anything that this page does not know or that is not as its kind should be. */
export function readMessage(text: unknown): ServerMessage | null {
  return knownMessage(typeof text === 'string' ? parsed(text) : null);
}

/** The same of a message that has been parsed, as those of a kernel are. */
export function knownMessage(data: unknown): ServerMessage | null {
  const shape = isObject(data) ? SHAPE_OF_KIND.get(data.kind) : undefined;
  return shape !== undefined && conforms(data, shape)
    ? (data as unknown as ServerMessage)
    : null;
}

/** The server, as this extension uses it. */
export class Api {
  constructor(readonly settings: ServerConnection.ISettings) {}

  /** The address of the stream, with the token where the page has no cookie. */
  get streamUrl(): string {
    const url = URLExt.join(this.settings.wsUrl, 'mlguard', 'stream');
    const token = this.settings.token;
    return this.settings.appendToken && token
      ? `${url}?token=${encodeURIComponent(token)}`
      : url;
  }

  /** Whether the server part answers at all; throws where the server itself does not. */
  async isThere(): Promise<boolean> {
    const response = await this.request('sample', {});
    return response.status !== 404;
  }

  /** What each %%guard line means. */
  async directives(lines: readonly string[]): Promise<readonly (DirectiveRead | null)[]> {
    const response = await this.request('directive', {
      method: 'POST',
      body: JSON.stringify({ lines })
    });
    await mustBeOk(response);
    const data: unknown = await response.json();
    const read = isObject(data) ? data.directives : null;
    return Array.isArray(read)
      ? read.map((one: unknown) => (conforms(one, 'DirectiveRead') ? (one as DirectiveRead) : null))
      : [];
  }

  /** The plan of an export; nothing is run or written. */
  async plan(path: string, skipBadCells: boolean): Promise<ExportPlan> {
    const result = await this.export({
      path,
      check: true,
      skip_bad_cells: skipBadCells
    });
    return {
      name: text(result.package),
      steps: list(result.steps).map(step => ({
        name: text(step.name),
        cells: numbers(step.cells),
        reads: texts(step.reads),
        gives: texts(step.gives),
        guards: texts(step.guards)
      })),
      notes: texts(result.notes),
      findings: findings(result)
    };
  }

  /** Write the package; `heard` is told how far it is and what it holds, `stop` ends it. */
  async write(
    options: ExportOptions,
    heard: (news: ExportNews) => void,
    stop: AbortSignal
  ): Promise<ExportResult> {
    const result = await this.export(options, heard, stop);
    const verification = isObject(result.verification)
      ? result.verification
      : null;
    return {
      name: text(result.package),
      folder: text(result.folder) || (options.output ?? ''),
      files: texts(result.files),
      run: text(result.run),
      kept: texts(result.kept),
      left: texts(result.left),
      findings: findings(result),
      compared: verification ? list(verification.rows).map(compared) : null,
      notebookSeconds: number(verification?.notebook_seconds),
      packageSeconds: number(verification?.package_seconds),
      notebookPeakBytes: number(verification?.notebook_peak_bytes),
      packagePeakBytes: number(verification?.package_peak_bytes),
      unstable: texts(verification?.unstable),
      comparisonFailed: text(verification?.error) || null
    };
  }

  private async export(
    options: ExportOptions,
    heard?: (news: ExportNews) => void,
    stop?: AbortSignal
  ): Promise<Json> {
    const response = await this.request('export', {
      method: 'POST',
      body: JSON.stringify(options),
      signal: stop
    });
    await mustBeOk(response);
    let last: Json = {};
    for await (const line of lines(response)) {
      const message = parsed(line);
      if (!isObject(message)) {
        continue;
      }
      if ('progress' in message) {
        heard?.({
          text: text(message.progress),
          done: number(message.done) ?? 0,
          of: number(message.of) ?? 0
        });
      } else if (conforms(message.memory, 'ExportMemory')) {
        heard?.(message.memory as ExportMemory);
      } else {
        last = message;
      }
    }
    if (isObject(last.result)) {
      return last.result;
    }
    const error = isObject(last.error) ? last.error : {};
    throw new ExportRefused(text(error.message) || 'The converter ended without a result.', findings(error));
  }

  private async request(route: string, init: RequestInit): Promise<Response> {
    return ServerConnection.makeRequest(
      URLExt.join(this.settings.baseUrl, 'mlguard', route),
      init,
      this.settings
    );
  }
}

async function mustBeOk(response: Response): Promise<void> {
  if (response.ok) {
    return;
  }
  if (response.status === 404) {
    throw new ServerPartMissing(
      'The server part of mlguard-nb is not running. Run "jupyter server extension enable mlguard_nb" where the server runs, then restart it.'
    );
  }
  const data: unknown = parsed(await response.text());
  const said = isObject(data) ? text(data.message) || text(data.reason) : '';
  throw new ExportRefused(said || `The server answered ${response.status}.`, []);
}

async function* lines(response: Response): AsyncGenerator<string> {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  while (reader) {
    const { done, value } = await reader.read();
    rest += decoder.decode(value, { stream: !done });
    const complete = rest.split('\n');
    rest = complete.pop() ?? '';
    yield* complete;
    if (done) {
      break;
    }
  }
  if (rest) {
    yield rest;
  }
}

function findings(data: Json): Finding[] {
  const found: unknown[] = list(data.findings);
  return found.filter((one): one is Finding => conforms(one, 'Finding'));
}

function compared(data: Json): ComparedValue {
  return {
    name: text(data.name),
    equal: typeof data.equal === 'boolean' ? data.equal : null,
    how: text(data.how),
    detail: text(data.detail),
    notebook: text(data.notebook),
    package: text(data.package)
  };
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return null;
  }
}

/** Whether `value` is a JSON object. */
export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `value` where it is a text, else "". */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** `value` where it is a number, else null: what nobody knows is not zero. */
export function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** The objects in `value` where it is a list. */
export function list(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

export function texts(value: unknown): string[] {
  return Array.isArray(value)
    ? value.filter((item): item is string => typeof item === 'string')
    : [];
}

function numbers(value: unknown): number[] {
  return Array.isArray(value)
    ? value.filter((item): item is number => typeof item === 'number')
    : [];
}
