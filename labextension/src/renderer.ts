/** The view below a guarded cell in JupyterLab: the rows of the stored view, or what is wrong with it. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import { isObject, text } from './api';
import { h } from './dom';
import { ViewFace, type FaceTools } from './face';
import { readSettings } from './remember';
import { sign } from './signs';
import { readView, versionOf, VIEW_MIME, VIEW_VERSION } from './view';

const LONGEST_SAID = 10_000;

/** Preferred over the stored HTML; shows nothing but text from the kernel, so it is safe in untrusted notebooks. */
export function viewRendererFactory(tools: FaceTools): IRenderMime.IRendererFactory {
  return {
    safe: true,
    mimeTypes: [VIEW_MIME],
    defaultRank: 20,
    createRenderer: () => new ViewRenderer(tools)
  };
}

class ViewRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(private readonly tools: FaceTools) {
    super();
    this.addClass('mlguard');
    this.addClass('mlguard-View');
    this.face = new ViewFace(this.node, () => this.isVisible, tools);
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const view = readView(model.data[VIEW_MIME]);
    if (view === null) {
      const why = whyUnread(model.data[VIEW_MIME], this.tools.trans);
      this.node.replaceChildren(
        h('pre', { class: 'mlguard-View-said' }, text(model.data['text/plain']).slice(0, LONGEST_SAID)),
        why === null ? '' : h('p', { class: 'mlguard-View-unread' }, sign('note'), why)
      );
    }
    this.face.show(view);
  }

  protected override onAfterAttach(): void {
    this.face.draw();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.face.dispose();
      super.dispose();
    }
  }

  private readonly face: ViewFace;
}

/** What is wrong with data that is no view, and what to do; null for what %guard keeps for the export: its text says it all. */
function whyUnread(data: unknown, trans: TranslationBundle): string | null {
  const version = versionOf(data);
  if (version !== null && version !== VIEW_VERSION) {
    return trans.__(
      'Written by another version of mlguard-nb, as version %1 of its data; this page reads version %2. Next: update mlguard-nb where JupyterLab runs, then reload the page.',
      version,
      VIEW_VERSION
    );
  }
  return isObject(data) && (isObject(data.schema) || readSettings(data.settings) !== null)
    ? null
    : trans.__('The rest of this output cannot be read. Next: run the cell again.');
}
