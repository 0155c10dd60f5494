// What the gateway asks, and what it is answered: the whole protocol, without a socket.
//
// In:  a call of the gateway: its event, route, body and the browser's origin.
// Out: status, headers (the groups to join or leave, the greeting) and body.
//
// Holds always: nothing is remembered about a viewer. Who watches what, only the gateway knows.

import { CHARTS } from "../page/charts.js";

/** `facts`: what the greeting says besides the current values, freshly made for each. */
export class Viewers {
  #history;
  #origins;
  #facts;

  constructor(history, origins, facts) {
    this.#history = history;
    this.#origins = origins;
    this.#facts = facts;
  }

  answer({ event, route, body, origin }) {
    if (event === "CONNECT") return this.#greet(origin);
    let asked;
    try {
      asked = JSON.parse(body);
    } catch {
      return error("the message is no JSON");
    }
    if (typeof asked?.chart !== "string" || !Object.hasOwn(CHARTS, asked.chart)) {
      return error(`there is no such chart; there are ${Object.keys(CHARTS).join(", ")}`);
    }
    if (route === "watch") return this.#watch(asked);
    if (route === "unwatch") {
      return { status: 200, headers: { "Tidegate-Leave": asked.chart }, body: { type: "unwatched", chart: asked.chart } };
    }
    return error("there is no such action; there are watch, unwatch");
  }

  /** A page of another site could read this machine's metrics through its visitor's browser. */
  #greet(origin) {
    if (origin !== undefined && !this.#origins.includes(origin)) {
      return { status: 403, headers: {}, body: { message: "this origin is not admitted" } };
    }
    const welcome = { type: "welcome", ...this.#history.current(), ...this.#facts() };
    return { status: 200, headers: { "Tidegate-Reply": ascii(welcome) }, body: {} };
  }

  #watch({ chart, run, since }) {
    const known = Number.isSafeInteger(since) && since >= 0 ? since : 0;
    const history = this.#history.after(chart, CHARTS[chart].series.length, run, known);
    return { status: 200, headers: { "Tidegate-Join": chart }, body: history };
  }
}

const error = (message) => ({ status: 400, headers: {}, body: { type: "error", message } });

/** JSON that any HTTP header takes. */
const ascii = (value) =>
  JSON.stringify(value).replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
