/** What all plugins of a page share: one stream, one model, one notebook in front, one reader of %%guard lines. */

import type { INotebookTracker } from '@jupyterlab/notebook';
import type { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Token } from '@lumino/coreutils';
import { Api } from './api';
import { DirectiveReader } from './directives';
import { NotebookInFront } from './front';
import { KernelFeed } from './kernelFeed';
import { LiveModel } from './model';
import { Stream } from './stream';

export interface ILive {
  readonly api: Api;
  readonly reader: DirectiveReader;
  readonly stream: Stream;
  readonly model: LiveModel;
  readonly front: NotebookInFront;
  readonly trans: TranslationBundle;
}

export const ILive = new Token<ILive>(
  'mlguard-nb:ILive',
  'The live readings of this page, and the notebook in front.'
);

/** Make them, and connect. */
export function makeLive(
  settings: ServerConnection.ISettings,
  tracker: INotebookTracker | null,
  trans: TranslationBundle
): ILive {
  const api = new Api(settings);
  const stream = new Stream(api);
  const model = new LiveModel(stream);
  const front = new NotebookInFront(tracker, model);
  new KernelFeed(model, front);
  stream.connect();
  return { api, reader: new DirectiveReader(api), stream, model, front, trans };
}
