/** The faces of the export dialog, each drawn from its state. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { ComparedValue, ExportPlan, ExportRefused, ExportResult } from './api';
import { h, type Child } from './dom';
import { secondsNow, type ExportDialog } from './exportDialog';
import { progressList } from './exportProgress';
import type { Finding } from './messages';
import { sign, type Sign } from './signs';
import { duration, gib } from './words';

const SHOWN_EQUAL = 5;
const OPENED = [/(^|\/)pipeline\.py$/, /(^|\/)steps\.py$/, /^README\.md$/, /^tests\/test_\w+\.py$/];

/** Everything inside the dialog. */
export function face(dialog: ExportDialog, trans: TranslationBundle): Node[] {
  const state = dialog.state;
  switch (state.kind) {
    case 'reading':
      return page(
        trans.__('Export %1', dialog.file),
        [h('p', {}, trans.__('Reading the notebook; nothing is run.'))],
        ['', button('close', trans.__('Cancel'), 'reject')]
      );
    case 'plan':
      return planFace(dialog, state.plan, trans);
    case 'writing':
      return page(
        trans.__('Export %1', dialog.file),
        [
          h('p', {}, trans.__('The package goes to '), h('code', {}, dialog.form.folder), '.'),
          progressList(state, dialog.form.verify, secondsNow(), trans)
        ],
        [
          trans.__('Stop writes nothing: the package is moved into its folder at the very end.'),
          button('stop', trans.__('Stop'), 'reject'),
          button('leave', trans.__('Close, keep running'), 'reject')
        ]
      );
    case 'result':
      return resultFace(dialog, state.result, state.all, trans);
    case 'refused':
      return refusedFace(dialog, state.refusal, trans);
  }
}

/** A title, a middle that scrolls, and a foot that never does; `pinned` stands between them. */
function page(title: string, body: Child[], [note, ...buttons]: [Child, ...Child[]], pinned: HTMLElement[] = []): Node[] {
  return [
    h('h2', {}, title),
    h('div', { class: 'mlguard-Dialog-body', tabindex: 0, role: 'group', 'aria-label': title }, ...body),
    ...pinned,
    h(
      'div',
      { class: 'mlguard-Dialog-foot' },
      h('span', { class: 'mlguard-quiet mlguard-cut' }, note),
      h('span', { class: 'mlguard-push' }),
      ...buttons
    )
  ];
}

/** A sentence of the converter's, with what stands between backticks set as code. */
function prose(sentence: string): Child[] {
  const parts = sentence.split('`');
  return parts.length % 2 ? parts.map((part, index) => (index % 2 ? h('code', {}, part) : part)) : [sentence];
}

/** Names, each of them whole: a line breaks between two, and one that is too long is cut. */
function names(all: readonly string[]): Child[] {
  return all.flatMap((name, index) => [index ? ' ' : null, h('code', { class: 'mlguard-Name', title: name }, index < all.length - 1 ? `${name},` : name)]);
}

function button(
  action: string,
  word: string,
  kind: 'accept' | 'reject' | 'link',
  argument = '',
  isOff = false
): HTMLElement {
  return h(
    'button',
    {
      type: 'button',
      class: `mlguard-${kind}`,
      'data-do': action,
      'data-with': argument || null,
      disabled: isOff
    },
    word
  );
}

function planFace(dialog: ExportDialog, plan: ExportPlan, trans: TranslationBundle): Node[] {
  const { form } = dialog;
  const stops = plan.findings.filter(finding => finding.level === 'error').length;
  const isFilled = /^[A-Za-z_]\w*$/.test(form.name) && form.folder !== '';
  return page(
    trans.__('Export %1', dialog.file),
    [
      h(
        'form',
        { class: 'mlguard-Dialog-form', 'data-key': 'form' },
        h('label', { for: 'mlguard-export-name' }, trans.__('Name')),
        h('input', { id: 'mlguard-export-name', name: 'name', type: 'text', value: form.name, spellcheck: 'false' }),
        h('label', { for: 'mlguard-export-folder' }, trans.__('Folder')),
        h('input', { id: 'mlguard-export-folder', name: 'folder', type: 'text', value: form.folder, spellcheck: 'false' })
      ),
      !dialog.notebook.isSaved && unsaved(trans),
      h(
        'div',
        {},
        h('h3', {}, trans._n('%1 cell becomes ', '%1 cells become ', dialog.notebook.codeCells) + trans._n('%1 step', '%1 steps', plan.steps.length)),
        planTable(plan, trans),
        ...plan.notes.map(note => h('p', {}, ...prose(note)))
      ),
      plan.findings.length > 0 &&
        h(
          'div',
          {},
          h(
            'h3',
            {},
            trans._n('%1 finding, ', '%1 findings, ', plan.findings.length) +
              (stops ? trans._n('%1 stops the export', '%1 stop the export', stops) : trans.__('none stops the export'))
          ),
          findings(plan.findings, trans)
        )
    ],
    [
      isFilled
        ? trans.__('Writes to %1. Nothing has been run or written yet.', form.folder)
        : trans.__('The name must be one that Python can import, and the folder is needed.'),
      button('close', trans.__('Cancel'), 'reject'),
      button('export', form.verify ? trans.__('Export and compare') : trans.__('Export'), 'accept', '', stops > 0 || !isFilled)
    ],
    [
      h(
        'label',
        { class: 'mlguard-Dialog-check', 'data-key': 'verify' },
        h('input', { type: 'checkbox', name: 'verify', checked: form.verify }),
        trans.__('Then run notebook and package and compare all values'),
        ' ',
        dialog.notebook.seconds !== null &&
          h('span', { class: 'mlguard-quiet' }, trans.__('(the notebook took %1 last time)', duration(dialog.notebook.seconds)))
      )
    ]
  );
}

/** The converter reads the file, not the page. */
function unsaved(trans: TranslationBundle): HTMLElement {
  const words = trans.__('This notebook cannot be saved here, so its file is exported as it was saved last. Next: save a copy elsewhere, and export that.');
  return warning([words], trans);
}

function warning(words: Child[], trans: TranslationBundle): HTMLElement {
  return h('p', { class: 'mlguard-Warning' }, sign('warning', trans.__('warning')), h('span', {}, ...words));
}

/** What to do next: in the notebook, or by an option of the export as this dialog has it. "" where nothing is known. */
function nextStep({ next_step, remedies }: Finding, trans: TranslationBundle): string {
  const words: Record<Finding['remedies'][number], string> = {
    skip_bad_cells: trans.__('leave the cell out'),
    order: trans.__('take the order of their runs in a terminal: `mlguard-nb export --order executed`'),
    allow_shell: trans.__('let shell lines run in a terminal: `mlguard-nb export --allow-shell`'),
    pack_data: trans.__('take all data along, large files too, in a terminal: `mlguard-nb export --pack-data`'),
    output: trans.__('choose another folder'),
    force: trans.__('write into it in a terminal: `mlguard-nb export --force`')
  };
  const ways = [next_step.replace(/\.$/, ''), ...remedies.map(remedy => words[remedy])].filter(Boolean);
  const all = ways.join(trans.__(', or '));
  return all && sentence(`${all.charAt(0).toUpperCase()}${all.slice(1)}`);
}

function sentence(words: string): string {
  return `${words.replace(/\.$/, '')}.`;
}

/** One finding is the headline itself, with its line below; several are counted and listed; without any there is the message. */
function refusedFace(dialog: ExportDialog, { message, findings: found }: ExportRefused, trans: TranslationBundle): Node[] {
  const bad = found.flatMap(({ cell, remedies }) => (remedies.includes('skip_bad_cells') && cell !== null ? [cell] : []));
  const first = found.find(({ level, cell }) => level === 'error' && cell !== null) ?? null;
  const [only] = found.length === 1 ? found : [];
  return page(
    trans.__('%1 cannot be exported', dialog.file),
    [
      h(
        'p',
        { class: 'mlguard-Refusal' },
        sign('critical', trans.__('error')),
        h('b', { class: 'mlguard-strong' }, ...(only ? placed(only, trans) : prose(refusal(message, found.length, trans))))
      ),
      first !== null && excerpt(dialog, first),
      only && h('p', {}, trans.__('Nothing was written.'), ' ', ...prose(nextStep(only, trans))),
      found.length > 0 && !only && findings(found, trans)
    ],
    [
      '',
      button('close', trans.__('Close'), 'reject'),
      bad.length > 0 && button('skip', trans._n('Leave out cell %2', 'Leave out cells %2', bad.length, bad.join(', ')), 'reject'),
      button('again', trans.__('Try again'), first === null ? 'accept' : 'reject'),
      first !== null && jump(first.cell ?? 0, first.line, trans.__('Go to cell %1', first.cell ?? 0), trans, 'accept')
    ]
  );
}

/** Why nothing was exported, where that is not one finding. */
function refusal(message: string, count: number, trans: TranslationBundle): string {
  return count ? trans._n('%1 finding stops the export. Nothing was written.', '%1 findings stop the export. Nothing was written.', count) : message;
}

/** "cell 2, line 2: not valid Python", its place a way there; a finding about the whole has none. */
function placed(finding: Finding, trans: TranslationBundle): Child[] {
  const { cell, line, message } = finding;
  return [...(cell === null ? [] : [jump(cell, line, place(finding, trans), trans), ': ']), ...prose(sentence(message))];
}

/** The line that stops the export and the one above it, with their numbers. */
function excerpt(dialog: ExportDialog, { cell, line }: Finding): HTMLElement | null {
  const lines = dialog.source(cell ?? 0).split('\n');
  if (line === null || lines[line - 1] === undefined) {
    return null;
  }
  const from = Math.max(0, line - 2);
  const shown = lines.slice(from, line).map((text, index) => `${String(from + index + 1).padStart(3)}  ${text}`);
  return h('pre', { class: 'mlguard-Excerpt', tabindex: 0, 'aria-label': dialog.file }, shown.join('\n'));
}

function planTable(plan: ExportPlan, trans: TranslationBundle): HTMLElement {
  const heads = [trans.__('cell'), trans.__('step'), trans.__('reads'), trans.__('gives'), trans.__('guards')];
  return h(
    'table',
    { class: 'mlguard-Table mlguard-Plan' },
    h('caption', { class: 'mlguard-hidden' }, trans.__('Plan: cells to steps')),
    h('thead', {}, h('tr', {}, ...heads.map(word => h('th', { scope: 'col' }, word)))),
    h(
      'tbody',
      {},
      ...plan.steps.map(step =>
        h(
          'tr',
          {},
          h('td', { class: 'mlguard-CellNumbers' }, ...cellNumbers(step.cells, trans)),
          h('th', { scope: 'row' }, ...names([step.name])),
          h('td', {}, ...names(step.reads)),
          h('td', {}, ...names(step.gives)),
          h('td', {}, ...(step.guards.length ? prose(step.guards.join(', ')) : [h('span', { class: 'mlguard-quiet' }, trans.__('none'))]))
        )
      )
    )
  );
}

/** "4, 6 – 9": cells in a row by their first and their last. */
function cellNumbers(cells: readonly number[], trans: TranslationBundle): Child[] {
  const inside = (index: number): boolean =>
    cells[index - 1] === (cells[index] ?? 0) - 1 && cells[index + 1] === (cells[index] ?? 0) + 1;
  return cells.flatMap((cell, index) =>
    inside(index)
      ? []
      : [index === 0 ? null : inside(index - 1) ? ' – ' : ', ', jump(cell, null, String(cell), trans)]
  );
}

function findings(found: readonly Finding[], trans: TranslationBundle): HTMLElement {
  const signs: Record<Finding['level'], Sign> = { error: 'critical', warning: 'warning', note: 'note' };
  return h(
    'table',
    { class: 'mlguard-Table mlguard-Findings' },
    h('caption', { class: 'mlguard-hidden' }, trans.__('Findings')),
    h(
      'tbody',
      {},
      ...found.map(finding =>
        h(
          'tr',
          {},
          h('td', {}, sign(signs[finding.level], trans.__(finding.level))),
          h('th', { scope: 'row' }, finding.cell !== null && jump(finding.cell, finding.line, place(finding, trans), trans)),
          h('td', {}, ...prose(sentence(finding.message)), h('span', { class: 'mlguard-quiet' }, ' ', ...prose(nextStep(finding, trans))))
        )
      )
    )
  );
}

function place({ cell, line }: Finding, trans: TranslationBundle): string {
  return line === null ? trans.__('cell %1', cell ?? 0) : trans.__('cell %1, line %2', cell ?? 0, line);
}

function jump(cell: number, line: number | null, word: string, trans: TranslationBundle, kind: 'link' | 'accept' = 'link'): HTMLElement {
  return h(
    'button',
    { type: 'button', class: `mlguard-${kind}`, title: trans.__('Go to cell %1', cell), 'data-do': 'jump', 'data-with': cell, 'data-line': line },
    word
  );
}

function resultFace(dialog: ExportDialog, result: ExportResult, all: boolean, trans: TranslationBundle): Node[] {
  const inFolder = (file: string): string => `${result.folder.replace(/\/$/, '')}/${file}`;
  const opened = OPENED.flatMap(name => result.files.filter(file => name.test(file)).slice(0, 1));
  const run = result.run || `${result.name} run`;
  return page(
    trans.__('%1 is exported', dialog.file),
    [
      ...outcome(result, all, trans),
      result.kept.length > 0 && h('p', {}, trans.__('Edited by hand and kept: %1. What the export would have written lies beside as .new.', result.kept.join(', '))),
      result.left.length > 0 && h('p', {}, trans.__('Edited by hand and kept: %1. The notebook no longer makes such a file.', result.left.join(', '))),
      result.findings.length > 0 && h('div', {}, h('h3', {}, trans._n('%1 finding', '%1 findings', result.findings.length)), findings(result.findings, trans)),
      opened.length > 0 &&
        h('p', {}, trans.__('Open: '), ...opened.flatMap((file, index) => [index ? ' · ' : null, button('file', file.split('/').pop() ?? file, 'link', inFolder(file))])),
      h('p', {}, trans.__('Run: '), h('code', {}, run), ' ', button('copy', trans.__('Copy'), 'link', run))
    ],
    [
      `${result.folder}, ${trans._n('%1 file', '%1 files', result.files.length)}`,
      button('close', trans.__('Close'), 'reject'),
      button('folder', trans.__('Open folder'), 'accept', result.folder)
    ]
  );
}

/** What the comparison found, or why there is none. */
function outcome(result: ExportResult, all: boolean, trans: TranslationBundle): Child[] {
  if (result.comparisonFailed !== null) {
    return [warning(prose(trans.__('The values of notebook and package were not compared: %1', result.comparisonFailed)), trans)];
  }
  return result.compared
    ? compared(result, result.compared, all, trans)
    : [h('p', {}, trans.__('The values of notebook and package were not compared.'))];
}

function compared(result: ExportResult, rows: readonly ComparedValue[], all: boolean, trans: TranslationBundle): Child[] {
  const equal = rows.filter(row => row.equal === true);
  const differing = rows.filter(row => row.equal === false);
  const unknown = rows.filter(row => row.equal === null);
  const shown = [...differing, ...unknown, ...(all ? equal : equal.slice(0, SHOWN_EQUAL))];
  const hidden = rows.length - shown.length;
  const heads: [word: string, kind?: string][] = [
    [trans.__('result')],
    [trans.__('name')],
    [trans.__('compared by')],
    [trans.__('notebook'), 'is-value'],
    [trans.__('package'), 'is-value'],
    [trans.__('remark')]
  ];
  return [
    h(
      'p',
      {},
      h('b', { class: 'mlguard-strong' }, trans.__('%1 of %2 final values are equal', equal.length, rows.length)),
      differing.length > 0 && `, ${trans._n('%1 differs', '%1 differ', differing.length)}`,
      unknown.length > 0 && `, ${trans._n('%1 is not compared', '%1 are not compared', unknown.length)}`,
      '.',
      result.notebookSeconds !== null &&
        result.packageSeconds !== null &&
        ` ${trans.__('Notebook %1, package %2.', duration(result.notebookSeconds), duration(result.packageSeconds))}`,
      result.notebookPeakBytes !== null &&
        result.packagePeakBytes !== null &&
        ` ${trans.__('At most %1 GiB and %2 GiB of memory.', gib(result.notebookPeakBytes), gib(result.packagePeakBytes))}`
    ),
    h(
      'table',
      { class: 'mlguard-Table' },
      h('caption', { class: 'mlguard-hidden' }, trans.__('Compared values')),
      h('thead', {}, h('tr', {}, ...heads.map(([word, kind]) => h('th', { scope: 'col', class: kind ?? null }, word)))),
      h('tbody', {}, ...shown.map(row => comparedRow(row, result.unstable, trans)))
    ),
    hidden > 0 && h('p', {}, button('all', trans.__('Show %1 more, all equal', hidden), 'link'))
  ];
}

function comparedRow(row: ComparedValue, unstable: readonly string[], trans: TranslationBundle): HTMLElement {
  const [mark, word]: [Sign, string] =
    row.equal === null ? ['none', trans.__('not compared')] : row.equal ? ['done', trans.__('equal')] : ['warning', trans.__('differs')];
  const remark = unstable.includes(row.name) ? trans.__('differs between two runs of the notebook itself') : row.detail;
  return h(
    'tr',
    {},
    h('td', { class: 'mlguard-Verdict' }, sign(mark), word),
    h('th', { scope: 'row' }, ...names([row.name])),
    h('td', {}, row.how),
    h('td', { class: 'mlguard-cut is-value', title: row.notebook }, row.notebook),
    h('td', { class: 'mlguard-cut is-value', title: row.package }, row.package),
    h('td', {}, ...prose(remark))
  );
}
