// Who this tab is: the access token, its renewal, and calls to the REST api with it.
//
// In:  the user's id; the browser's cookie does the rest. Out: a token that is good for a while yet.
//
// Holds always: the token is only in this tab's memory; one renewal at a time.

/** The browser is signed in no more, and only a password helps. */
export class SignedOut extends Error {}

/** What the backend says against a call. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The backend does not answer. */
export class Away extends Error {}

export async function call(method, path, { body, headers } = {}) {
  const answer = await fetch(path, {
    method,
    headers: { ...(body && { "Content-Type": "application/json" }), ...headers },
    body: body && JSON.stringify(body),
  }).catch((error) => { throw new Away("the backend does not answer", { cause: error }); });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said.message ?? `the backend answered ${answer.status}`);
}

/** A renewal comes this much before the end, or a fifth of a life that is shorter. */
const EARLY_MS = 10_000;

export class Account {
  #token = null;
  #goodUntil = 0;
  #renewal = null;

  constructor(user) {
    this.user = user;
  }

  /** A token that is not about to end. */
  async token() {
    if (performance.now() < this.#goodUntil) return this.#token;
    return this.renewed();
  }

  /** A new token, whatever the old one is worth. */
  renewed() {
    this.#renewal ??= this.#renew().finally(() => { this.#renewal = null; });
    return this.#renewal;
  }

  async #renew() {
    const asked = performance.now();
    try {
      const { token, expires_in: life } = await call("POST", "api/token", { body: { user: this.user.id } });
      this.#token = token;
      this.#goodUntil = asked + life * 1000 - Math.min(EARLY_MS, life * 200);
      return token;
    } catch (error) {
      throw error.status === 401 ? new SignedOut("signed out") : error;
    }
  }

  /** A call in this user's name. Made once more with a new token where the old one is not taken. */
  async call(method, path, { headers, ...options } = {}) {
    const as = (token) => call(method, path, { ...options, headers: { ...headers, Authorization: `Bearer ${token}` } });
    const token = await this.token();
    try {
      return await as(token);
    } catch (error) {
      if (error.status !== 401) throw error;
      return as(await this.renewed());
    }
  }
}
