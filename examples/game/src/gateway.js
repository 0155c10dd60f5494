// Calls to the gateway's management API.
//
// In:  messages for groups and connections. Out: whether a connection was still there.
//
// Holds always: of a group's states only the newest waits, behind the one that is on its way; a
// gateway that is away costs the post and a line in the log, never the game.

const CALL_MS = 5_000;

export class Gateway {
  #stage;
  #waiting = new Map(); // by group: the newest state, or null while one is on its way

  /** @param {string} stage such as `http://127.0.0.1:8080/live` */
  constructor(stage) {
    this.#stage = stage;
  }

  /** Posts a state, in order within its group. Older ones that have not left yet are dropped. */
  async tellGroup(group, state) {
    const busy = this.#waiting.has(group);
    this.#waiting.set(group, state);
    if (busy) return;
    for (let next; (next = this.#waiting.get(group)) !== null; ) {
      this.#waiting.set(group, null);
      await this.#call("POST", `/@groups/${encodeURIComponent(group)}`, next);
    }
    this.#waiting.delete(group);
  }

  /** "sent", "gone" when the connection has ended, or "failed". */
  async tell(connection, message) {
    const status = await this.#call("POST", `/@connections/${encodeURIComponent(connection)}`, message);
    return { 200: "sent", 410: "gone" }[status] ?? "failed";
  }

  async close(connection, code, reason) {
    await this.#call("DELETE", `/@connections/${encodeURIComponent(connection)}?code=${code}&reason=${encodeURIComponent(reason)}`);
  }

  async #call(method, path, message) {
    try {
      const body = message === undefined ? undefined : JSON.stringify(message);
      const answer = await fetch(this.#stage + path, { method, body, signal: AbortSignal.timeout(CALL_MS) });
      await answer.arrayBuffer(); // read to its end, so that the connection serves the next call
      if (!answer.ok && answer.status !== 410) console.error(`the gateway answered ${answer.status} to ${method} ${path.split("/")[1]}`);
      return answer.status;
    } catch (error) {
      console.error(`the gateway cannot be called: ${error.cause?.message ?? error.message}`);
      return null;
    }
  }
}
