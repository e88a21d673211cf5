/** The form behind a badge: writes line 1 of the cell as one undo step, and shows the line before it does. */

import type { Cell } from '@jupyterlab/cells';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { TranslationBundle } from '@jupyterlab/translation';
import { text } from './api';
import type { DirectiveReader } from './directives';
import { h, patch, type Child } from './dom';
import { directiveOf, NotebookInFront } from './front';
import { LiveModel, RAM } from './model';
import { OPTIONS, type GuardOption } from './options';
import { sign } from './signs';
import { gib } from './words';

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
/** The options of every day, always shown; every other one of the table is below "All options". */
const EVERYDAY = ['name', 'retry', 'wait', 'mem', 'gpu', 'at', 'cache'];

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
    this._isWide = OPTIONS.some(
      ({ word }) => this._words.has(word) && !EVERYDAY.includes(word)
    );
    const box = anchor.getBoundingClientRect();
    this._node.style.left = `${Math.max(8, Math.min(box.left, window.innerWidth - 430))}px`;
    const top = Math.max(8, Math.min(box.bottom + 4, window.innerHeight - 520));
    this._node.style.top = `${top}px`;
    this._node.style.maxHeight = `${window.innerHeight - top - 8}px`;
    document.body.append(this._node);
    for (const type of ['input', 'click', 'cancel']) {
      this._node.addEventListener(type, this);
    }
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
      if (target instanceof HTMLInputElement && target.type === 'checkbox') {
        this.take(target.name, target.checked ? '' : null);
      } else if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement) {
        this.take(target.name, target.value.trim() || null);
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
      } else if (action === 'more') {
        this._isWide = !this._isWide;
        this.draw();
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

  /** `null` takes the word out of the line, "" leaves it standing alone. */
  private take(word: string, value: string | null): void {
    if (value === null) {
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
    const everyday = EVERYDAY.flatMap(word => OPTIONS.filter(option => option.word === word));
    const others = OPTIONS.filter(({ word }) => !EVERYDAY.includes(word));
    this._node.setAttribute('aria-label', title);
    patch(this._node, [
      h('h3', {}, title),
      h('div', { class: 'mlguard-Form-grid' }, ...everyday.flatMap(option => this.row(option))),
      h(
        'button',
        { type: 'button', class: 'mlguard-Form-more', 'data-do': 'more', 'aria-expanded': String(this._isWide) },
        sign(this._isWide ? 'open' : 'closed'),
        trans.__('All options')
      ),
      h(
        'div',
        { class: 'mlguard-Form-grid mlguard-Form-others' },
        ...(this._isWide ? others.flatMap(option => this.row(option)) : [])
      ),
      h('p', { class: 'mlguard-Form-error', id: 'mlguard-form-error', role: 'alert' }, this._error !== null && sign('critical'), this._error),
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

  /** The option that the parser cannot read, null where there is none or no single one. */
  private get mistaken(): string | null {
    const [start, end] = this._span ?? [];
    const [word] = start === undefined ? [] : wordsOf(lineOf(this._words).slice(start, end)).keys();
    return word ?? null;
  }

  /** One option of the table: its label, what it takes, and what it means on hover and to a screen reader. */
  private row(option: GuardOption): HTMLElement[] {
    const { trans } = this.parts;
    const help = trans.__(option.help);
    const id = `mlguard-form-${option.word}`;
    const isMistaken = option.word === this.mistaken;
    const said: Record<string, string> = isMistaken ? { 'aria-invalid': 'true', 'aria-errormessage': 'mlguard-form-error' } : {};
    return [
      h('label', { for: id, title: help }, this.label(option)),
      h(
        'div',
        { title: help },
        this.field(option, { id, name: option.word, 'aria-description': help, ...said }),
        isMistaken && sign('critical'),
        h('span', { class: 'mlguard-quiet' }, this.amount(option.word))
      )
    ];
  }

  private label({ word }: GuardOption): string {
    const { trans } = this.parts;
    const labels: Record<string, string> = {
      name: trans.__('Name'),
      retry: trans.__('Attempts'),
      wait: trans.__('Wait'),
      mem: trans.__('RAM stop'),
      gpu: trans.__('GPU stop'),
      at: trans.__('At the stop'),
      cache: trans.__('Keep results')
    };
    return labels[word] ?? word;
  }

  private field(option: GuardOption, attributes: Record<string, string>): HTMLElement {
    const value = this._words.get(option.word) ?? '';
    if (option.takes === '') {
      return h('input', { ...attributes, type: 'checkbox', checked: this._words.has(option.word) });
    }
    if (option.choices.length) {
      return h(
        'select',
        attributes,
        h('option', { value: '', selected: value === '' }, this.choice(option, option.fallback)),
        ...option.choices
          .filter(choice => choice !== option.fallback || choice === value)
          .map(choice => h('option', { value: choice, selected: choice === value }, this.choice(option, choice)))
      );
    }
    const isShort = /^(COUNT|DURATION|SIZE|SHARE\|SIZE)$/.test(option.takes);
    return h('input', {
      ...attributes,
      type: 'text',
      value,
      placeholder: this.placeholder(option),
      class: isShort ? 'is-short' : null,
      spellcheck: 'false'
    });
  }

  /** What an empty field means; a word that stands alone on the line means its default. */
  private placeholder(option: GuardOption): string {
    const { trans } = this.parts;
    return this._words.has(option.word) || !option.standsAlone
      ? option.fallback
      : trans.__('none');
  }

  private choice({ word }: GuardOption, value: string): string {
    const { trans } = this.parts;
    const words: Record<string, string> = {
      stop: trans.__('stop the cell'),
      wait: trans.__('wait for memory'),
      warn: trans.__('warn and go on'),
      skip: trans.__('skip the cell')
    };
    return word === 'at' ? (words[value] ?? value) : value;
  }

  /** "12.8 of 16.0 GiB" beside a share. */
  private amount(word: string): Child {
    const { model, trans } = this.parts;
    const share = Number(this._words.get(word) ?? '');
    const key = word === 'mem' ? RAM : (model.devices.find(device => device.gpu !== null)?.key ?? null);
    const limit = (word === 'mem' || word === 'gpu') && key !== null ? (model.device(key)?.limit.value ?? null) : null;
    return limit !== null && share > 0 && share <= 1
      ? trans.__('%1 of %2 GiB', gib(share * limit), gib(limit))
      : '';
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
  private _isWide = false;
  private readonly _node = h('dialog', { class: 'mlguard mlguard-Form' });
}
