/** What is missing, why, and what to do next: the lines above the devices. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { h, type Child } from './dom';
import { sharesMemory, type LiveModel } from './model';
import { sign, type Sign } from './signs';
import { age, timeOfDay } from './words';

const ENABLE = 'jupyter server extension enable mlguard_nb';

/** What is missing, why, and what to do next; nothing when all is well. */
export function notices(model: LiveModel, trans: TranslationBundle): Child[] {
  const found: Child[] = [];
  if (model.connection === 'missing' && model.sample === null) {
    found.push(missing(trans));
  } else if (model.isStale || model.connection === 'lost' || model.connection === 'missing') {
    found.push(stale(model, trans));
  } else if (model.sample === null) {
    found.push(notice('waiting', trans.__('Connecting to the server.'), ''));
  }
  if (model.asksKernel) {
    found.push(kernelSide(model, trans));
  }
  for (const device of model.devices) {
    if (sharesMemory(device)) {
      found.push(
        notice(
          'note',
          trans.__('%1 has no memory of its own to show.', device.label),
          `${capital(device.used.reason ?? '')}.`
        )
      );
    } else if (device.gpu !== null && device.used.value === null && !device.gpu.mig) {
      found.push(
        notice(
          'critical',
          device.lost
            ? trans.__('%1 was lost at %2.', device.label, timeOfDay(device.lost.wall))
            : trans.__('%1 gives no reading.', device.label),
          trans.__('%1. Trying again every 5 s.', capital(device.used.reason ?? ''))
        )
      );
    }
  }
  return found;
}

/** Whose numbers these are, where the server cannot look at the kernel of the notebook in front. */
function kernelSide(model: LiveModel, trans: TranslationBundle): HTMLElement {
  const { account, kernel } = model;
  const next = model.isAccountUnreadable ? unreadable(trans) : account === null && loadNext(trans);
  if (kernel?.elsewhere == null) {
    return notice(
      'note',
      trans.__('Who holds the memory of the GPU cannot be seen from here.'),
      trans.__('Next: start the container with --pid=host.') +
        (account === null ? '' : ` ${trans.__('Until then this notebook is shown by the count of its own framework.')}`),
      next
    );
  }
  return account === null
    ? notice(
        'note',
        '',
        trans.__('This kernel runs on another host. The devices below are those of the Jupyter server.'),
        next
      )
    : notice(
        'note',
        trans.__('This kernel runs on another host, %1.', account.host),
        trans.__('Shown is what the kernel itself reports. Other notebooks and processes of that host cannot be named from here.'),
        next
      );
}

/** What a kernel of another version sends, or a broken one. */
function unreadable(trans: TranslationBundle): HTMLElement {
  return h(
    'p',
    {},
    trans.__('What the kernel counts itself cannot be read. Next: install the same version of mlguard-nb for the kernel and for JupyterLab, restart the kernel and reload this page.')
  );
}

/** What makes a kernel tell of itself. */
function loadNext(trans: TranslationBundle): HTMLElement {
  return h('p', {}, trans.__('For what the kernel itself counts, run in the notebook: '), h('code', {}, '%load_ext mlguard_nb'));
}

function missing(trans: TranslationBundle): HTMLElement {
  return notice(
    'note',
    trans.__('The server part of mlguard-nb is not running.'),
    trans.__('Live readings need it; guarded cells work without it.'),
    h('p', {}, trans.__('Next: run this where the server runs, then restart it:')),
    h(
      'p',
      {},
      h('code', {}, ENABLE),
      ' ',
      h('button', { type: 'button', class: 'mlguard-link', 'data-do': 'copy', 'data-with': ENABLE }, trans.__('Copy'))
    )
  );
}

function stale(model: LiveModel, trans: TranslationBundle): HTMLElement {
  const wait =
    model.nextTry === null
      ? ''
      : trans.__('next try in %1.', age(Math.max(0, (model.nextTry - Date.now()) / 1000)));
  const head =
    model.sample === null
      ? trans.__('No sample yet.')
      : trans.__('Last sample %1 ago', age(model.age ?? 0));
  const when = model.sample === null ? '' : `(${timeOfDay(model.sample.wall)}). `;
  const cause =
    model.connection === 'live'
      ? model.account === null
        ? trans.__('The server has not sent one since.')
        : trans.__('The kernel has not sent one since.')
      : trans.__('The connection to the server was lost; %1', wait);
  return notice(
    'stale',
    head,
    when + cause,
    h('p', {}, h('button', { type: 'button', class: 'mlguard-link', 'data-do': 'reconnect' }, trans.__('Try now')))
  );
}

/** The reasons of the server are parts of sentences; here they begin one. */
function capital(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

function notice(
  mark: Sign,
  strong: string,
  rest: string,
  ...more: Child[]
): HTMLElement {
  return h(
    'div',
    { class: 'mlguard-Message' },
    sign(mark),
    h('p', {}, strong ? h('b', { class: 'mlguard-strong' }, strong) : null, strong && rest ? ' ' : '', rest),
    ...more
  );
}
