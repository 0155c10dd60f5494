// The line to the gateway: it comes back by itself.
//
// In:  the socket's events, and the time. Out: `onState(state, secondsLeft)`, `onMessage(message)`.
//
// Holds always: a line that says nothing for `SILENCE_MS` is dropped, for a socket whose other side
// is gone can look open for many minutes; two pages do not come back in the same moment.

const SILENCE_MS = 5_000; // five beats
const LONGEST_WAIT_MS = 30_000;
/** Only a line that holds is a success; one that breaks each time must not be hurried. */
const SETTLED_MS = 5_000;

export class Line {
  #address;
  #onState;
  #onMessage;
  #socket = null;
  #failures = 0;
  #silence = 0;
  #settled = 0;
  #retry = 0;
  #countdown = 0;

  /** `address`: `async () => url`, asked for each attempt. */
  constructor({ address, onState, onMessage }) {
    this.#address = address;
    this.#onState = onState;
    this.#onMessage = onMessage;
    addEventListener("online", () => this.tryNow());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.tryNow(); });
    void this.#connect();
  }

  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** The greeting is here: now the line is of use. */
  live() {
    this.#onState("live");
    clearTimeout(this.#settled);
    this.#settled = setTimeout(() => { this.#failures = 0; }, SETTLED_MS);
  }

  /** Ends a wait. */
  tryNow() {
    if (this.#retry) void this.#connect();
  }

  async #connect() {
    this.#endWait();
    this.#onState("connecting");
    try {
      const socket = new WebSocket(await this.#address());
      this.#socket = socket;
      socket.onmessage = ({ data }) => {
        this.#heard();
        this.#onMessage(JSON.parse(data));
      };
      socket.onclose = () => this.#lost();
      this.#heard();
    } catch {
      this.#wait();
    }
  }

  #heard() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(), SILENCE_MS);
  }

  /** Ends the socket without waiting for the other side, which may be out of reach. */
  #lost() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#silence);
    clearTimeout(this.#settled);
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#wait();
  }

  /** Exponential, and never the same for two pages. */
  #wait() {
    const longest = Math.min(LONGEST_WAIT_MS, 1_000 * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    const until = Date.now() + longest * (0.5 + Math.random() / 2);
    const say = () => this.#onState(navigator.onLine ? "waiting" : "offline", Math.max(1, Math.ceil((until - Date.now()) / 1000)));
    this.#retry = setTimeout(() => this.#connect(), until - Date.now());
    this.#countdown = setInterval(say, 250);
    say();
  }

  #endWait() {
    clearTimeout(this.#retry);
    clearInterval(this.#countdown);
    this.#retry = 0;
  }
}
