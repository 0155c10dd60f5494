// Posts through the gateway: one call reaches all who are in a group.
//
// In:  a target such as `@groups/cpu` or `@broadcast`, and a message.
// Out: a management call, and how many connections took it.
//
// Holds always: a target has at most one call under way and one message waiting, the newest. A
// gateway that is slow or away costs no memory; the numbers in the messages let viewers see the gap.

const TIMEOUT_MS = 5_000;

export class Publisher {
  #stage;
  #log;
  /** By target, what waits for the call under way to end, or null. */
  #waiting = new Map();
  #recipients = new Map();
  #failing = false;

  /** `stage`: the stage's address, such as `http://127.0.0.1:8080/live`. */
  constructor(stage, log = console.error) {
    this.#stage = stage;
    this.#log = log;
  }

  /** How many took the last message to this target. */
  recipients(target) {
    return this.#recipients.get(target) ?? 0;
  }

  /** Sends `message`, unless a newer one comes before its turn. Ends when it is sent or waits. */
  async post(target, message) {
    if (this.#waiting.has(target)) {
      this.#waiting.set(target, message);
      return;
    }
    for (; message !== null; message = this.#waiting.get(target)) {
      this.#waiting.set(target, null);
      await this.#send(target, message);
    }
    this.#waiting.delete(target);
  }

  async #send(target, message) {
    try {
      const answer = await fetch(`${this.#stage}/${target}`, {
        method: "POST",
        body: JSON.stringify(message),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${answer.status} ${text}`);
      this.#recipients.set(target, JSON.parse(text).recipients);
      if (this.#failing) this.#log(`posting to ${this.#stage} works again`);
      this.#failing = false;
    } catch (error) {
      this.#recipients.set(target, 0);
      // Said once: a sample that is lost is followed by the next one.
      if (!this.#failing) this.#log(`post to ${this.#stage}/${target}: ${error.cause?.message ?? error.message}`);
      this.#failing = true;
    }
  }
}
