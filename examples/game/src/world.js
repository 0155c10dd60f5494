// All matches and players of this backend, and what each message of the gateway does to them.
//
// In:  the gateway's events: a route, a connection id, a message, and when.
// Out: for each, an `Answer`; and, from `posts`, what has become news to the lobby and the matches.
//
// Holds always: a player has one connection and is in one match or none; the secret token is told
// to its owner only; names and ids of players, and what they signal, are all that others get. No
// socket, no clock, no chance: `now` and `random` are given.

import { IDLE_MS, Match, Refusal } from "./match.js";

export const LOBBY = "lobby";
export const groupOf = (match) => `match-${match}`;

/** A player without a connection or a match is forgotten after this long. */
const FORGET_MS = 10 * 60_000;
const MOST_MATCHES = 500;
const MOST_LISTED = 60;
const LONGEST_NAME = 20;
const LONGEST_SIGNAL = 16 * 1024;
const SIGNALS = ["offer", "answer", "candidate"];

/**
 * What the gateway is answered.
 * @typedef {object} Answer
 * @property {object} [reply] the sender's message
 * @property {string[]} [join] groups that the connection is in before the sender reads the reply
 * @property {string[]} [leave]
 * @property {{connection: string, message: object, lost: Refusal}} [forward] to post before the
 *   reply, which is `lost` when nobody is there any more
 * @property {string} [close] another connection, whose place this one takes
 */

export class World {
  #players = new Map(); // by token: { id, token, name, visit, connection, match, seenAt }
  #byId = new Map();
  #byConnection = new Map();
  #matches = new Map();
  #changed = new Set();
  #lobbyWas = "";
  #random;

  /** `random(n)` is a text of n hard-to-guess letters and digits. */
  constructor(random) {
    this.#random = random;
  }

  /** @returns {Answer} */
  handle(route, connection, message, now) {
    if (route === "$connect") return { join: [LOBBY] };
    if (route === "$disconnect") {
      this.gone(connection, now);
      return {};
    }
    const ref = typeof message?.ref === "string" ? message.ref.slice(0, 64) : undefined;
    try {
      const answer = this.#act(route, connection, message, now);
      return { ...answer, reply: { ...answer.reply, ref } };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { reply: refused(error, ref) };
    }
  }

  #act(route, connection, message, now) {
    if (message === null || typeof message !== "object") throw new Refusal("bad_message", "a message is a JSON object with an action");
    if (route === "hello") return this.#hello(connection, message, now);
    const player = this.#byConnection.get(connection);
    if (!player) throw new Refusal("who_are_you", "say hello first");
    player.seenAt = now;
    if (SIGNALS.includes(route)) return this.#signal(route, player, message);
    const acts = {
      look: () => this.#look(player, now),
      open: () => this.#open(player, message, now),
      sit: () => this.#sit(player, this.#find(message.match), now),
      watch: () => this.#watch(player, this.#find(message.match)),
      start: () => this.#in(player, (match) => match.start(player.id, now)),
      move: () => this.#in(player, (match) => match.move(player.id, message.from, message.to, now)),
      rematch: () => this.#in(player, (match) => match.rematch(player.id, now)),
      leave: () => this.#leave(player, now),
    };
    if (!Object.hasOwn(acts, route)) throw new Refusal("unknown_action", "actions are hello, look, open, sit, watch, start, move, rematch, leave, offer, answer and candidate");
    return acts[route]();
  }

  // ── Who, and where ─────────────────────────────────────────────────────────────────────────

  #hello(connection, message, now) {
    let player = this.#players.get(message.token);
    if (!player) {
      player = { id: `p-${this.#random(8)}`, token: this.#random(32), name: "Guest", visit: null, connection: null, match: null, seenAt: now };
      this.#players.set(player.token, player);
      this.#byId.set(player.id, player);
    }
    const close = player.connection !== null && player.connection !== connection ? player.connection : undefined;
    if (close) this.#byConnection.delete(close);
    const before = this.#byConnection.get(connection);
    if (before && before !== player) this.gone(connection, now);
    Object.assign(player, { connection, seenAt: now, name: nameFrom(message.name) ?? player.name, visit: text(message.visit, 40) ?? null });
    this.#byConnection.set(connection, player);
    const match = this.#matches.get(player.match);
    player.match = match?.id ?? null;
    match?.back(player, now);
    this.#news(match);
    return { ...this.#place(player, { token: player.token }), close };
  }

  /** The connection has ended, or a post to it found nobody. */
  gone(connection, now) {
    const player = this.#byConnection.get(connection);
    if (!player) return;
    this.#byConnection.delete(connection);
    Object.assign(player, { connection: null, seenAt: now });
    const match = this.#matches.get(player.match);
    match?.away(player.id, now);
    this.#news(match);
  }

  /** Tells where the player is; being in its groups comes first, so nothing after is missed. */
  #place(player, more = {}) {
    const place = player.match ? groupOf(player.match) : LOBBY;
    return {
      reply: { type: "place", you: player.id, name: player.name, match: player.match, ...more },
      join: [place],
      leave: player.match ? [LOBBY] : [],
    };
  }

  #look(player, now) {
    const match = this.#matches.get(player.match);
    return { reply: match ? { type: "match", match: match.view(now) } : this.#lobby() };
  }

  #lobby() {
    const rank = { waiting: 0, playing: 1, over: 2 };
    const matches = [...this.#matches.values()].reverse().map((match) => match.summary())
      .filter((match) => match.phase !== "over").sort((a, b) => rank[a.phase] - rank[b.phase]);
    return { type: "lobby", matches: matches.slice(0, MOST_LISTED), here: this.#byConnection.size };
  }

  // ── Matches ────────────────────────────────────────────────────────────────────────────────

  #find(id) {
    const match = this.#matches.get(id);
    if (!match) throw new Refusal("unknown_match", "there is no such match any more");
    return match;
  }

  #free(player) {
    const match = this.#matches.get(player.match);
    const seat = match?.seats[match.seatOf(player.id)];
    if (seat && seat.out === null && match.phase !== "over") throw new Refusal("seated", "leave your match first");
  }

  #open(player, message, now) {
    this.#free(player);
    if (this.#matches.size >= MOST_MATCHES) throw new Refusal("too_many", "there are too many matches just now");
    const match = new Match(this.#random(8), message.size, now);
    this.#matches.set(match.id, match);
    return this.#sit(player, match, now);
  }

  #sit(player, match, now) {
    if (player.match === match.id && match.seatOf(player.id) >= 0) return this.#place(player);
    this.#free(player);
    match.sit(player, now);
    return this.#move(player, match, now);
  }

  #watch(player, match) {
    if (player.match === match.id) return this.#place(player);
    this.#free(player);
    return this.#move(player, match);
  }

  /** From one place to the next; leaving a match that is over gives up the seat there. */
  #move(player, match, now) {
    const was = this.#matches.get(player.match);
    if (was && was !== match) was.leave(player.id, now);
    player.match = match?.id ?? null;
    this.#news(was);
    this.#news(match);
    const answer = this.#place(player);
    if (was && was !== match) answer.leave.push(groupOf(was.id));
    return answer;
  }

  #leave(player, now) {
    const match = player.match;
    const answer = this.#move(player, null, now);
    // The match may have ended without this player: its group is left all the same.
    if (match && answer.leave.length === 0) answer.leave.push(groupOf(match));
    return answer;
  }

  #in(player, act) {
    const match = this.#matches.get(player.match);
    if (!match) throw new Refusal("not_seated", "you are in no match");
    act(match);
    this.#news(match);
    return { reply: { type: "ok" } };
  }

  // ── Signalling ─────────────────────────────────────────────────────────────────────────────

  /** From seat to seat; what it says is the peers' own affair. */
  #signal(kind, player, { to, link, data }) {
    const match = this.#matches.get(player.match);
    const seated = (id) => match?.seats.find((seat) => seat.id === id && seat.out !== "left");
    if (!seated(player.id)) throw new Refusal("not_seated", "only players of a match signal to each other");
    if (typeof to !== "string" || to === player.id || !seated(to)) throw new Refusal("unknown_peer", `no other player of this match is ${JSON.stringify(text(String(to), 40))}`);
    if (text(link, 40) === undefined || data === null || typeof data !== "object" || JSON.stringify(data).length > LONGEST_SIGNAL) {
      throw new Refusal("bad_signal", `a signal has a link, a text of up to 40 characters, and data, an object of up to ${LONGEST_SIGNAL} characters`);
    }
    const lost = new Refusal("lost_peer", `${seated(to).name} is away`);
    const peer = this.#byId.get(to);
    if (!peer?.connection || peer.match !== match.id) throw lost;
    return {
      reply: { type: "ok" },
      forward: { connection: peer.connection, message: { type: kind, from: player.id, visit: player.visit, link, data }, lost },
    };
  }

  // ── Time, and news ─────────────────────────────────────────────────────────────────────────

  /** When `tick` has something to do, at the earliest. */
  due() {
    return Math.min(...[...this.#matches.values()].map((match) => match.due()), ...[...this.#players.values()]
      .filter((player) => player.connection === null && player.match === null).map((player) => player.seenAt + FORGET_MS));
  }

  tick(now) {
    for (const match of this.#matches.values()) {
      const version = match.version;
      for (const id of match.tick(now)) {
        const player = this.#byId.get(id);
        if (player) player.match = null;
      }
      if (match.version !== version) this.#news(match);
      if (match.touchedAt + IDLE_MS <= now) this.#end(match, now);
    }
    for (const player of this.#players.values()) {
      if (player.connection !== null || player.match !== null || player.seenAt + FORGET_MS > now) continue;
      this.#players.delete(player.token);
      this.#byId.delete(player.id);
    }
  }

  #news(match) {
    if (match) this.#changed.add(match.id);
  }

  #end(match, now) {
    this.#matches.delete(match.id);
    this.#changed.add(match.id);
    for (const player of this.#players.values()) {
      if (player.match === match.id) Object.assign(player, { match: null, seenAt: now });
    }
  }

  /** What has become news since it was last asked: [group, message], each the whole state. */
  posts(now) {
    const posts = [];
    for (const id of this.#changed) {
      const match = this.#matches.get(id);
      if (match?.abandoned) this.#end(match, now);
      const watching = [...this.#byConnection.values()].filter((player) => player.match === id && match?.seatOf(player.id) < 0);
      match?.watched(watching.length);
      posts.push([groupOf(id), this.#matches.has(id) ? { type: "match", match: match.view(now) } : { type: "closed", match: id }]);
    }
    this.#changed.clear();
    const lobby = this.#lobby();
    const is = JSON.stringify(lobby);
    if (is !== this.#lobbyWas) posts.push([LOBBY, lobby]);
    this.#lobbyWas = is;
    return posts;
  }
}

/** How a refusal is told. */
export const refused = (refusal, ref) => ({ type: "error", code: refusal.code, message: refusal.message, ref });

const text = (value, longest) => (typeof value === "string" && value.length > 0 && value.length <= longest ? value : undefined);

/** One line, no invisible characters. */
function nameFrom(value) {
  if (typeof value !== "string") return undefined;
  const name = [...value.replace(/[\p{C}\p{Z}\s]+/gu, " ").trim()].slice(0, LONGEST_NAME).join("").trim();
  return name === "" ? undefined : name;
}
