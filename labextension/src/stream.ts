/** The one stream of a page: opened once, opened again when it is lost, told what is on screen. */

import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';
import { Api, readMessage } from './api';
import type { ServerMessage, Watch } from './messages';

/** `missing`: the server has no mlguard part. `lost`: there was a connection and it broke. */
export type Connection = 'connecting' | 'live' | 'lost' | 'missing';

const FIRST_WAIT = 1;
const LONGEST_WAIT = 15;
const MISSING_WAIT = 30;

/** Emits every message of the server; knows when the next try is. */
export class Stream implements IDisposable {
  constructor(private readonly api: Api) {
    document.addEventListener('visibilitychange', this.tell);
  }

  /** When the next try to connect is, in milliseconds since the epoch; null while connected. */
  nextTry: number | null = null;

  get connection(): Connection {
    return this._connection;
  }

  get heard(): ISignal<this, ServerMessage> {
    return this._heard;
  }

  get connectionChanged(): ISignal<this, Connection> {
    return this._connectionChanged;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Connect now; again after a loss, without waiting for the next try. */
  connect(): void {
    window.clearTimeout(this._timer);
    this.nextTry = null;
    if (this._isDisposed || this._socket) {
      return;
    }
    const socket = new this.api.settings.WebSocket(this.api.streamUrl);
    this._socket = socket;
    socket.onopen = () => {
      this._wait = FIRST_WAIT;
      this.be('live');
      this.tell();
    };
    socket.onmessage = event => {
      const message = readMessage(event.data);
      if (message) {
        this._heard.emit(message);
      }
    };
    socket.onclose = () => {
      this._socket = null;
      void this.lose();
    };
  }

  /** Say whether the panel is on screen, and the seconds between samples and of history that are wanted (null: as the server does). */
  watch(panel: boolean, interval: number | null, history: number | null): void {
    this._panel = panel;
    this._interval = interval;
    this._history = history;
    this.tell();
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    document.removeEventListener('visibilitychange', this.tell);
    window.clearTimeout(this._timer);
    this._socket?.close();
    Signal.clearData(this);
  }

  private readonly tell = (): void => {
    const watch: Watch = {
      kind: 'watch',
      panel: this._panel && !document.hidden,
      interval: this._interval,
      history: this._history
    };
    if (this._socket?.readyState === WebSocket.OPEN) {
      this._socket.send(JSON.stringify(watch));
    }
  };

  /** The stream closed: find out whether there is anything to connect to, and when to try again. */
  private async lose(): Promise<void> {
    const there = await this.api.isThere().catch(() => true);
    if (this._isDisposed) {
      return;
    }
    const seconds = there ? this._wait : MISSING_WAIT;
    this._wait = Math.min(LONGEST_WAIT, this._wait * 2);
    this.nextTry = Date.now() + seconds * 1000;
    this._timer = window.setTimeout(() => this.connect(), seconds * 1000);
    this.be(there ? 'lost' : 'missing');
  }

  private be(connection: Connection): void {
    if (connection !== this._connection) {
      this._connection = connection;
      this._connectionChanged.emit(connection);
    }
  }

  private _socket: WebSocket | null = null;
  private _connection: Connection = 'connecting';
  private _isDisposed = false;
  private _panel = false;
  private _interval: number | null = null;
  private _history: number | null = null;
  private _wait = FIRST_WAIT;
  private _timer = 0;
  private readonly _heard = new Signal<this, ServerMessage>(this);
  private readonly _connectionChanged = new Signal<this, Connection>(this);
}
