/** The form behind a badge: writes line 1 of the cell as one undo step, and shows the line before it does. */

import type { Cell } from '@jupyterlab/cells';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { TranslationBundle } from '@jupyterlab/translation';
import { text } from './api';
import type { DirectiveReader } from './badge';
import { h, patch } from './dom';
import { directiveOf, NotebookInFront } from './front';
import { LiveModel, RAM } from './model';
import { sign } from './signs';
import { gib } from './words';

/** One field: the words of the line that it stands for. */
interface Field {
  readonly word: string;
  readonly label: string;
  readonly placeholder: string;
}

/** What the form needs; `plugin` names the settings that hold the default line. */
export interface FormParts {
  readonly reader: DirectiveReader;
  readonly model: LiveModel;
  readonly front: NotebookInFront;
  readonly trans: TranslationBundle;
  readonly registry: ISettingRegistry | null;
  readonly plugin: string;
}

const WORD = /(?:^|\s)(?:--)?([A-Za-z_]\w*)(?:=("[^"]*"|'[^']*'|\S*))?/g;
const PRESSURE = ['stop', 'wait', 'warn', 'skip'];

/** The words of a %%guard line, in order; a bare word has an empty value. */
export function wordsOf(line: string): Map<string, string> {
  const bare = line.replace(/\s#.*$/, '');
  return new Map(
    Array.from(bare.matchAll(WORD), match => [match[1] ?? '', match[2] ?? ''])
  );
}

/** The line that these words make. */
export function lineOf(words: ReadonlyMap<string, string>): string {
  const written = Array.from(words, ([word, value]) =>
    value === '' ? word : `${word}=${value}`
  );
  return ['%%guard', ...written].join(' ');
}

export class GuardForm {
  constructor(private readonly parts: FormParts) {}

  /** Open the form for `cell` below `anchor`; Escape closes it and gives the focus back. */
  open(cell: Cell, anchor: HTMLElement): void {
    this.close();
    this._cell = cell;
    this._anchor = anchor;
    const source = cell.model.sharedModel.getSource();
    this._words = wordsOf(directiveOf(source) ?? '');
    const box = anchor.getBoundingClientRect();
    this._node.style.left = `${Math.max(8, Math.min(box.left, window.innerWidth - 390))}px`;
    this._node.style.top = `${Math.min(box.bottom + 4, window.innerHeight - 340)}px`;
    document.body.append(this._node);
    this._node.addEventListener('input', this);
    this._node.addEventListener('click', this);
    this._node.addEventListener('cancel', this);
    this.draw();
    this._node.showModal();
    void this.check();
    void this.begin();
  }

  handleEvent(event: Event): void {
    const target = event.target;
    if (event.type === 'cancel') {
      event.preventDefault();
      this.close();
    } else if (event.type === 'input') {
      if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement) {
        this.take(target.name, target.value.trim());
      }
    } else if (target instanceof Element) {
      const action = target.closest<HTMLElement>('[data-do]')?.dataset.do;
      const isOutside = target === this._node && this.isOutside(event);
      if (action === 'cancel' || isOutside) {
        this.close();
      } else if (action === 'write') {
        this.write(lineOf(this._words));
      } else if (action === 'remove') {
        this.write(null);
      }
    }
  }

  private isOutside(event: Event): boolean {
    const box = this._node.getBoundingClientRect();
    return (
      event instanceof MouseEvent &&
      (event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom)
    );
  }

  private close(): void {
    this._node.close();
    this._node.remove();
    this._anchor?.focus();
    this._cell = this._anchor = null;
  }

  private get fields(): readonly Field[] {
    const { trans } = this.parts;
    return [
      { word: 'name', label: trans.__('Name'), placeholder: '' },
      { word: 'retry', label: trans.__('Attempts'), placeholder: '1' },
      { word: 'wait', label: trans.__('Wait'), placeholder: '0.5s..20s' },
      { word: 'mem', label: trans.__('RAM stop'), placeholder: trans.__('none') },
      { word: 'gpu', label: trans.__('GPU stop'), placeholder: trans.__('none') },
      { word: 'cache', label: trans.__('Keep results'), placeholder: trans.__('not kept') }
    ];
  }

  /** An empty line begins with the options of the settings; they are written out, nothing stays hidden. */
  private async begin(): Promise<void> {
    if (this._words.size || this.parts.registry === null) {
      return;
    }
    const settings = await this.parts.registry.load(this.parts.plugin);
    if (this._cell !== null) {
      this._words = wordsOf(text(settings.get('defaultLine').composite));
      this.draw();
      void this.check();
    }
  }

  private take(word: string, value: string): void {
    if (value === '' || (word === 'at' && value === 'stop')) {
      this._words.delete(word);
    } else {
      this._words.set(word, value);
    }
    this.draw();
    void this.check();
  }

  /** The parser of the server is the only one: the form says what it says. */
  private async check(): Promise<void> {
    const line = lineOf(this._words);
    const read = await this.parts.reader.read(line);
    if (line === lineOf(this._words)) {
      this._error = read?.error ? [read.error, read.hint].filter(Boolean).join('; ') : null;
      this._span = read?.error ? (read.span ?? null) : null;
      this.draw();
    }
  }

  private draw(): void {
    const { trans, front } = this.parts;
    const line = lineOf(this._words);
    const count = (front.panel?.content.widgets ?? [])
      .filter(cell => cell.model.type === 'code')
      .findIndex(cell => cell === this._cell);
    const title = trans.__('Guard of cell %1', count + 1);
    this._node.setAttribute('aria-label', title);
    patch(this._node, [
      h('h3', {}, title),
      h(
        'div',
        { class: 'mlguard-Form-grid' },
        ...this.fields.flatMap(field => this.row(field)),
        h('label', { for: 'mlguard-form-at' }, trans.__('At the stop')),
        h('div', {}, this.pressure())
      ),
      h('p', { class: 'mlguard-Form-error', role: 'alert' }, this._error !== null && sign('critical'), this._error),
      h('code', { class: 'mlguard-Form-line' }, ...this.marked(line)),
      h(
        'div',
        { class: 'mlguard-Dialog-foot' },
        h('button', { type: 'button', class: 'mlguard-link', 'data-do': 'remove' }, trans.__('Remove guard')),
        h('span', { class: 'mlguard-push' }),
        h('button', { type: 'button', class: 'mlguard-reject', 'data-do': 'cancel' }, trans.__('Cancel')),
        h('button', { type: 'button', class: 'mlguard-accept', 'data-do': 'write', disabled: this._error !== null }, trans.__('Write line'))
      )
    ]);
  }

  /** The line with the word underlined that the parser cannot read. */
  private marked(line: string): (Node | string)[] {
    const [start, end] = this._span ?? [];
    if (start === undefined || end === undefined) {
      return [line];
    }
    return [line.slice(0, start), h('u', {}, line.slice(start, end)), line.slice(end)];
  }

  private row({ word, label, placeholder }: Field): HTMLElement[] {
    const id = `mlguard-form-${word}`;
    const value = this._words.get(word) ?? '';
    const isLong = word === 'name' || word === 'wait';
    return [
      h('label', { for: id }, label),
      h(
        'div',
        {},
        h('input', { id, name: word, type: 'text', value, placeholder, class: isLong ? null : 'is-short', spellcheck: 'false' }),
        h('span', { class: 'mlguard-quiet' }, this.amount(word, value))
      )
    ];
  }

  /** "12.8 of 16.0 GiB" beside a share. */
  private amount(word: string, value: string): string {
    const { model, trans } = this.parts;
    const share = Number(value);
    const key = word === 'mem' ? RAM : (model.devices.find(device => device.gpu !== null)?.key ?? null);
    const limit = (word === 'mem' || word === 'gpu') && key !== null ? (model.device(key)?.limit.value ?? null) : null;
    return limit !== null && share > 0 && share <= 1
      ? trans.__('%1 of %2 GiB', gib(share * limit), gib(limit))
      : '';
  }

  private pressure(): HTMLElement {
    const { trans } = this.parts;
    const words: Record<string, string> = {
      stop: trans.__('stop the cell'),
      wait: trans.__('wait for memory'),
      warn: trans.__('warn and go on'),
      skip: trans.__('skip the cell')
    };
    const chosen = this._words.get('at') ?? 'stop';
    return h(
      'select',
      { id: 'mlguard-form-at', name: 'at' },
      ...PRESSURE.map(value => h('option', { value, selected: value === chosen }, words[value]))
    );
  }

  /** Replace line 1 (null: take it out), as one step that undo takes back. */
  private write(line: string | null): void {
    const model = this._cell?.model.sharedModel;
    if (model !== undefined) {
      const source = model.getSource();
      const rest = source.includes('\n') ? source.slice(source.indexOf('\n')) : '';
      model.setSource(line === null ? rest.slice(1) : line + rest);
    }
    this.close();
  }

  private _cell: Cell | null = null;
  private _anchor: HTMLElement | null = null;
  private _words = new Map<string, string>();
  private _error: string | null = null;
  private _span: readonly number[] | null = null;
  private readonly _node = h('dialog', { class: 'mlguard mlguard-Form' });
}
