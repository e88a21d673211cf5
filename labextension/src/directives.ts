/** What %%guard lines mean, as the server's parser reads them. */

import type { Api } from './api';
import type { DirectiveRead } from './messages';

/** Asks the server once for each distinct line, however many cells carry it. */
export class DirectiveReader {
  constructor(private readonly api: Api) {}

  /** What `line` means, null where the server cannot say. */
  async read(line: string): Promise<DirectiveRead | null> {
    const known = this._known.get(line);
    if (known) {
      return known;
    }
    const waiting = new Promise<DirectiveRead | null>(resolve => {
      this._waiting.push({ line, resolve });
    });
    this._timer ||= window.setTimeout(() => void this.ask(), 0);
    const read = await waiting;
    if (read) {
      this._known.set(line, read);
    }
    return read;
  }

  private async ask(): Promise<void> {
    const waiting = this._waiting.splice(0);
    this._timer = 0;
    const read = await this.api
      .directives(waiting.map(({ line }) => line))
      .catch(() => []);
    waiting.forEach(({ resolve }, index) => resolve(read[index] ?? null));
  }

  private _timer = 0;
  private readonly _known = new Map<string, DirectiveRead>();
  private readonly _waiting: {
    line: string;
    resolve: (read: DirectiveRead | null) => void;
  }[] = [];
}
