// The line to the gateway: one WebSocket, made anew whenever it ends.
//
// In:  an account, whose token opens the socket. Out: messages, and what state the line is in.
//
//     connecting ──► open ──closed: the token has expired──► connecting, with a new token
//         └──failed──► waiting ◄──closed otherwise──┘   each time longer, never the same twice
//
// Holds always: one socket at a time; what an old socket still says is not heard.

import { SignedOut, call } from "./account.js";

const SUBPROTOCOL = "notify";
/** With the code 1008: how the gateway ends a socket whose token has. */
const EXPIRED = "token expired";
const OPEN_WITHIN_MS = 15_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 20_000;

export class Line extends EventTarget {
  #account;
  #socket = null;
  #failures = 0;
  #timer = 0;
  #over = false;
  #url = null;

  constructor(account) {
    super();
    this.#account = account;
    addEventListener("online", () => this.retry());
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Whether it was sent; nothing is kept for later. */
  send(message) {
    if (!this.open) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  async connect(token = this.#account.token()) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#say("connecting");
    try {
      const [good, url] = await Promise.all([token, this.#url ?? socketUrl()]);
      this.#url = url;
      if (!this.#over) this.#begin(good);
    } catch (error) {
      if (error instanceof SignedOut) this.dispatchEvent(new Event("signedout"));
      else this.#wait();
    }
  }

  /** Does not wait any longer. */
  retry() {
    if (this.#timer && !this.#over) this.connect(this.#account.renewed());
  }

  end() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  #begin(token) {
    const socket = new WebSocket(this.#url, [SUBPROTOCOL, `bearer.${token}`]);
    this.#socket = socket;
    const late = setTimeout(() => socket.close(), OPEN_WITHIN_MS);
    socket.onopen = () => {
      clearTimeout(late);
      this.#failures = 0;
      this.#say("open");
    };
    socket.onmessage = ({ data }) => this.dispatchEvent(new MessageEvent("message", { data: JSON.parse(data) }));
    socket.onclose = ({ reason }) => {
      clearTimeout(late);
      this.#drop();
      if (reason === EXPIRED) this.connect(this.#account.renewed());
      else this.#wait();
    };
  }

  #drop() {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #wait() {
    if (this.#over) return;
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(this.#failures++, 10));
    // A refused upgrade does not say why: the token may be what was wrong, so the next one is new.
    this.#timer = setTimeout(() => this.connect(this.#account.renewed()), longest * (0.5 + Math.random() / 2));
    this.#say(navigator.onLine === false ? "offline" : "waiting");
  }

  #say(state) {
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}

/** The gateway is where the page is, on a port of its own. */
async function socketUrl() {
  const { port } = await call("GET", "gateway.json");
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.hostname}:${port}/live`;
}
