/** The export while it runs: what is done, what runs now, what is still to come, each with its time. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { value } from './bar';
import { h, type Child } from './dom';
import type { ExportState } from './exportDialog';
import type { ExportGpu, ExportMemory } from './messages';
import { gpuLabel } from './model';
import { sign, type Sign } from './signs';
import { clockTime, duration, gib } from './words';

/** A stage of the converter: its words while it runs and once it is done, and whether only a comparison has it. */
interface Stage {
  readonly text: string;
  readonly runs: string;
  readonly done: string;
  readonly compares: boolean;
}

/** In the converter's own words, in their order; a stage that is not listed is shown as the converter says it. */
export function stages(trans: TranslationBundle): Stage[] {
  const stage = (text: string, runs: string, done: string, compares = false): Stage => ({ text, runs, done, compares });
  return [
    stage('reading the notebook', trans.__('reading the notebook'), trans.__('notebook read')),
    stage('writing the package', trans.__('writing the package'), trans.__('package written')),
    stage('importing the package', trans.__('importing the package'), trans.__('package imported in a fresh process')),
    stage('running the notebook', trans.__('running the notebook'), trans.__('notebook run'), true),
    stage('running the package', trans.__('running the package'), trans.__('package run'), true),
    stage('comparing what both ended with', trans.__('comparing the final values'), trans.__('final values compared'), true),
    stage('moving the package into place', trans.__('moving the package into place'), trans.__('package moved into place'))
  ];
}

type Writing = Extract<ExportState, { kind: 'writing' }>;

/** One line a stage: finished ones say how long they took, the running one how long it runs, the others wait. */
export function progressList(
  { heard, memory }: Writing,
  compares: boolean,
  now: number,
  trans: TranslationBundle
): HTMLElement {
  const known = stages(trans);
  const waiting = known.filter(stage => (compares || !stage.compares) && heard.every(({ text }) => text !== stage.text));
  return h(
    'ol',
    { class: 'mlguard-Steps', 'aria-live': 'polite' },
    ...(heard.length ? [] : [item('running', trans.__('starting the converter'), '')]),
    ...heard.map((one, index) => {
      const stage = known.find(({ text }) => text === one.text);
      const next = heard[index + 1];
      if (next !== undefined) {
        return item('done', stage?.done ?? one.text, duration(next.began - one.began));
      }
      const words = stage?.runs ?? one.text;
      const time = clockTime(now - one.began);
      const holds = stage?.compares ? holding(memory, trans) : null;
      return one.of > 1
        ? item('running', trans.__('%1: %2 of %3 cells done', words, one.done, one.of), time, holds, one.done / one.of)
        : item('running', words, time, holds);
    }),
    ...waiting.map(stage => item('waiting', stage.runs, ''))
  );
}

/** What the two runs hold; empty until that is known, so that nothing moves then. Never read aloud by itself. */
function holding(memory: ExportMemory | null, trans: TranslationBundle): HTMLElement {
  return h(
    'span',
    { class: 'mlguard-Steps-memory mlguard-quiet', 'aria-live': 'off' },
    ...(memory === null ? [] : [ramOf(memory, trans), ...memory.gpus.flatMap(gpu => gpuOf(gpu, trans))])
  );
}

function ramOf({ held, peak, most }: ExportMemory, trans: TranslationBundle): string {
  return most === null
    ? trans.__('in a process of its own: RAM %1 GiB, peak %2 GiB', gib(held), gib(peak))
    : trans.__('in a process of its own: RAM %1 of at most %2 GiB, peak %3 GiB', gib(held), gib(most), gib(peak));
}

/** ", GPU 0 30.2 of 80.0 GiB". */
function gpuOf(gpu: ExportGpu, trans: TranslationBundle): Child[] {
  const { held, total } = gpu;
  return [
    `, ${gpuLabel(gpu)} `,
    value(gib(held.value), held.reason, trans),
    ` ${trans.__('of')} `,
    value(gib(total.value), total.reason, trans),
    ' GiB'
  ];
}

function item(mark: Sign, words: string, time: string, holds: HTMLElement | null = null, share?: number): HTMLElement {
  return h(
    'li',
    { 'data-stage': mark },
    sign(mark),
    h('span', {}, words),
    h('span', { class: 'mlguard-number', 'aria-hidden': 'true' }, time),
    share !== undefined && h('span', { class: 'mlguard-Steps-bar' }, h('span', { style: `width: ${(100 * share).toFixed(1)}%` })),
    holds
  );
}
