// The line to the gateway: one WebSocket, again and again.
//
// In:  requests of the page. Out: their replies, the messages in between, and how the line is.
//
// Holds always: whoever comes back says hello with the token of this tab before anything else, so
// that a reload or a cut line leads back to the same seat; a request ends, with a reply or an error.

const REPLY_WITHIN_MS = 10_000;
const LONGEST_WAIT_MS = 15_000;
/** The gateway closes what is silent for ten minutes. */
const STILL_HERE_EVERY_MS = 4 * 60_000;
/** The backend closes a tab with this when another tab has come in with its token. */
const ELSEWHERE = 4001;

/** Storage may be forbidden (private windows); then a reload makes another player. */
export const remembered = {
  get(store, key) { try { return window[store].getItem(key); } catch { return null; } },
  set(store, key, value) { try { window[store].setItem(key, value); } catch { /* then not */ } },
};

const mark = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");

export class Line {
  #socket = null;
  #url = null;
  #pending = new Map();
  #failures = 0;
  #retry = 0;
  #stillHere = 0;
  #hello;
  #on;
  /** Names this load of the page: peers see by it that connections to an earlier one are over. */
  #visit = mark();

  /**
   * @param {() => object} hello what to say besides the token
   * @param {{place(reply), message(event), state(name, text)}} on
   */
  constructor(hello, on) {
    this.#hello = hello;
    this.#on = on;
    addEventListener("online", () => this.now());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.now(); });
  }

  async connect() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    if (this.#socket) return;
    this.#on.state("connecting", "Connecting");
    try {
      this.#url ??= await address();
    } catch {
      return this.#wait();
    }
    if (this.#socket) return;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    const late = setTimeout(() => this.#drop(socket), REPLY_WITHIN_MS);
    socket.onopen = () => { clearTimeout(late); this.hello().catch(() => this.#drop(socket)); };
    socket.onmessage = ({ data }) => { if (socket === this.#socket) this.#receive(data); };
    socket.onclose = ({ code }) => { clearTimeout(late); this.#drop(socket, code); };
  }

  /** Says who one is, again where the name has changed; the reply says where one is. */
  async hello() {
    const reply = await this.#request("hello", { ...this.#hello(), token: remembered.get("sessionStorage", "reef.token"), visit: this.#visit });
    remembered.set("sessionStorage", "reef.token", reply.token);
    this.#failures = 0;
    clearInterval(this.#stillHere);
    this.#stillHere = setInterval(() => this.request("look").then(this.#on.message, () => {}), STILL_HERE_EVERY_MS);
    this.#on.state("open", "Connected");
    this.#on.place(reply);
  }

  /** The reply, or an error with the backend's `code`. */
  request(action, fields = {}) {
    return this.#request(action, fields);
  }

  #request(action, fields) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.reject(failure("offline", "not connected just now"));
    const ref = mark();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(ref, (each) => each.reject(failure("late", "no answer came"))), REPLY_WITHIN_MS);
      this.#pending.set(ref, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ action, ...fields, ref }));
    });
  }

  #settle(ref, how) {
    const pending = this.#pending.get(ref);
    if (!pending) return;
    this.#pending.delete(ref);
    clearTimeout(pending.timer);
    how(pending);
  }

  #receive(data) {
    let event;
    try { event = JSON.parse(data); } catch { return; }
    // The gateway's own error frames have no type and no ref: the backend is away, or too busy.
    if (!event.type) return this.#failAll(failure("gateway", event.message ?? "the gateway failed"));
    if (event.ref === undefined) return this.#on.message(event);
    this.#settle(event.ref, ({ resolve, reject }) => (event.type === "error" ? reject(failure(event.code, event.message)) : resolve(event)));
  }

  #failAll(error) {
    for (const ref of [...this.#pending.keys()]) this.#settle(ref, (each) => each.reject(error));
  }

  /** Ends a socket without waiting for the other side, which may be out of reach. */
  #drop(socket, code) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    clearInterval(this.#stillHere);
    this.#failAll(failure("offline", "the connection is gone"));
    if (code === ELSEWHERE) this.#on.state("elsewhere", "Open in another tab");
    else this.#wait();
  }

  /** Exponential, and never the same for two pages: they must not all come back at once. */
  #wait() {
    const longest = Math.min(LONGEST_WAIT_MS, 500 * 2 ** Math.min(this.#failures++, 8));
    this.#retry = setTimeout(() => this.connect(), longest * (0.5 + Math.random() / 2));
    this.#on.state(navigator.onLine === false ? "offline" : "waiting", navigator.onLine === false ? "Offline" : "Reconnecting");
  }

  /** Without waiting any longer; also takes the seat back from another tab, when asked to. */
  now(evenFromElsewhere = false) {
    if (this.#retry || (evenFromElsewhere && !this.#socket)) this.connect();
  }
}

/** The gateway is on the machine that the page came from. */
async function address() {
  const { port } = await (await fetch("gateway.json")).json();
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.hostname}:${port}/live`;
}

function failure(code, message) {
  return Object.assign(new Error(message), { code });
}
