// One match: who sits, whose turn it is, how long, who is away, who has won.
//
// In:  what players do, and when (`now`, ms). Out: `view` for its players and watchers, `summary`
//      for the lobby; a `Refusal` where something is not allowed, and then nothing has changed.
//
// ```text
// waiting --all seats taken, or started--> playing --full, stuck, stalled, one left--> over
//    ^                                        ^----- all who stay want a rematch --------|
//    \----------------------------------------- one who stays wants a rematch ----------/
// ```
//
// Holds always: only the seat whose turn it is moves; every change has a higher `version`; a turn
// ends by itself. It reads no clock: `due` says when to come back with `tick`.

import { FEWEST, MOST, canMove, counts, filledBy, kindOf, moved, newBoard, turnedBy } from "./rules.js";

export const TURN_MS = 30_000;
/** A seat that is away for so long forfeits, and before the start or after the end it leaves. */
export const AWAY_MS = 45_000;
export const AWAY_WAITING_MS = 15_000;
/** Who lets the clock run out so often in a row forfeits. */
export const MISSED_TURNS = 3;
/** A match in which nothing happens for so long is over for good. */
export const IDLE_MS = 15 * 60_000;
/** So many leaps of each player in a row, and the board has stopped growing: it is counted. */
const LEAPS_OF_EACH = 4;

/** Something that is not allowed: `code` for programs, the message for people. */
export class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Whether a seat can be in a next round: who has forfeited can, unless it is still away. */
const stays = (seat) => seat.out === null || (seat.out === "forfeit" && seat.awaySince === null);

export class Match {
  phase = "waiting";
  /** In the order of their turns: { id, name, visit, awaySince, out, missed, voted }. */
  seats = [];
  version = 0;
  watchers = 0;
  round = 0;
  /** Turns that were taken or missed, over all rounds. */
  turns = 0;
  owners = null;
  turn = null;
  turnEnds = null;
  last = null;
  result = null;
  #leaps = 0;

  constructor(id, size, now) {
    if (!Number.isInteger(size) || size < FEWEST || size > MOST) {
      throw new Refusal("bad_size", `a match has ${FEWEST} to ${MOST} seats`);
    }
    this.id = id;
    this.size = size;
    this.touchedAt = now;
  }

  seatOf(player) {
    return this.seats.findIndex((seat) => seat.id === player);
  }

  /** Whether no one is left who could go on. */
  get abandoned() {
    return !this.seats.some(stays);
  }

  // ── What players do ────────────────────────────────────────────────────────────────────────

  sit({ id, name, visit }, now) {
    if (this.phase !== "waiting") throw new Refusal("begun", "this match has begun");
    if (this.seats.length >= this.size) throw new Refusal("full", "all seats are taken");
    this.seats.push({ id, name, visit, awaySince: null, out: null, missed: 0, voted: false });
    this.#touch(now);
    if (this.seats.length === this.size) this.#begin(now);
  }

  start(player, now) {
    this.#seated(player);
    if (this.phase !== "waiting") throw new Refusal("begun", "this match has begun");
    if (this.seatOf(player) !== 0) throw new Refusal("not_host", `${this.seats[0].name} opened this match and starts it`);
    if (this.seats.length < FEWEST) throw new Refusal("too_few", `a match needs ${FEWEST} players`);
    this.#begin(now);
  }

  move(player, from, to, now) {
    const seat = this.#seated(player);
    if (this.phase !== "playing") throw new Refusal("not_playing", "this match is not being played");
    if (this.turn !== seat) throw new Refusal("not_your_turn", `it is the turn of ${this.seats[this.turn].name}`);
    const kind = kindOf(this.players, this.owners, seat, from, to);
    if (kind.refused) throw new Refusal("illegal_move", kind.refused);
    const turned = turnedBy(this.players, this.owners, seat, to);
    this.owners = moved(this.players, this.owners, seat, from, to);
    this.last = { seat, from, to, kind, turned };
    this.seats[seat].missed = 0;
    this.turns++;
    this.#leaps = kind === "leap" ? this.#leaps + 1 : 0;
    this.#touch(now);
    this.#next(now);
  }

  rematch(player, now) {
    const seat = this.#seated(player);
    if (this.phase !== "over") throw new Refusal("not_over", "this match is not over");
    if (this.seats[seat].out === "left") throw new Refusal("not_seated", "you have left this match");
    this.seats[seat].voted = true;
    this.#touch(now);
    this.#again(now);
  }

  leave(player, now) {
    const at = this.seatOf(player);
    if (at < 0 || this.seats[at].out === "left") return;
    this.#touch(now);
    if (this.phase === "waiting") {
      this.seats.splice(at, 1);
      return;
    }
    this.#out(at, "left", now);
    if (this.phase === "over") this.#again(now);
  }

  away(player, now) {
    const seat = this.seats[this.seatOf(player)];
    if (!seat || seat.out === "left" || seat.awaySince !== null) return;
    seat.awaySince = now;
    this.#touch(now);
  }

  back({ id, name, visit }, now) {
    const seat = this.seats[this.seatOf(id)];
    if (!seat || seat.out === "left") return;
    Object.assign(seat, { name, visit, awaySince: null });
    this.#touch(now);
  }

  watched(by) {
    if (this.watchers === by) return;
    this.watchers = by;
    this.version++;
  }

  // ── What time does ─────────────────────────────────────────────────────────────────────────

  /** When `tick` has something to do, at the earliest. */
  due() {
    const times = [this.touchedAt + IDLE_MS];
    if (this.phase === "playing") times.push(this.turnEnds);
    for (const seat of this.seats) if (seat.out === null && seat.awaySince !== null) times.push(seat.awaySince + this.#patience);
    return Math.min(...times);
  }

  /** The ids of those who have lost their seat by it, so that they may be sent away. */
  tick(now) {
    const gone = [];
    for (const seat of [...this.seats]) {
      if (seat.out !== null || seat.awaySince === null || seat.awaySince + this.#patience > now) continue;
      if (this.phase === "playing") {
        this.#out(this.seats.indexOf(seat), "forfeit", now);
      } else {
        gone.push(seat.id);
        this.leave(seat.id, now);
      }
      this.#touch(now);
    }
    if (this.phase === "playing" && this.turnEnds <= now) {
      const seat = this.seats[this.turn];
      this.last = { seat: this.turn, kind: "missed" };
      this.turns++;
      this.#touch(now);
      if (++seat.missed >= MISSED_TURNS) this.#out(this.turn, "forfeit", now);
      else this.#next(now);
    }
    return gone;
  }

  get #patience() {
    return this.phase === "waiting" ? AWAY_WAITING_MS : AWAY_MS;
  }

  // ── How it goes on ─────────────────────────────────────────────────────────────────────────

  get players() {
    return this.seats.length;
  }

  #seated(player) {
    const seat = this.seatOf(player);
    if (seat < 0) throw new Refusal("not_seated", "you have no seat in this match");
    return seat;
  }

  #touch(now) {
    this.version++;
    this.touchedAt = now;
  }

  #begin(now) {
    for (const seat of this.seats) Object.assign(seat, { out: null, missed: 0, voted: false });
    Object.assign(this, { phase: "playing", owners: newBoard(this.players), last: null, result: null });
    this.#leaps = 0;
    this.#turnOf(this.round++ % this.players, now);
    this.#touch(now);
  }

  #turnOf(seat, now) {
    this.turn = seat;
    this.turnEnds = now + TURN_MS;
  }

  /** The next who can move has the turn; where there is no game left in it, it ends. */
  #next(now) {
    const order = this.seats.map((_, i) => (this.turn + 1 + i) % this.players);
    const able = order.filter((i) => this.seats[i].out === null && canMove(this.players, this.owners, i));
    if (able.length === 0) return this.#end("full");
    if (able.length === 1) {
      this.owners = filledBy(this.owners, able[0]);
      return this.#end("stuck");
    }
    if (this.#leaps >= LEAPS_OF_EACH * this.players) return this.#end("stalled");
    this.#turnOf(able[0], now);
  }

  /** A seat is given up: its pieces stay where they are, and can be won. */
  #out(at, how, now) {
    const seat = this.seats[at];
    seat.out = how;
    seat.voted = false;
    if (this.phase !== "playing") return;
    if (this.seats.filter((each) => each.out === null).length === 1) return this.#end("alone");
    if (this.turn === at) this.#next(now);
  }

  #end(why) {
    const owned = counts(this.players, this.owners);
    const standing = this.seats.flatMap((seat, i) => (seat.out === null ? [i] : []));
    const most = Math.max(...standing.map((i) => owned[i]));
    this.result = { why, winners: standing.filter((i) => owned[i] === most) };
    Object.assign(this, { phase: "over", turn: null, turnEnds: null });
  }

  /** Plays again once all who are still here want to; one alone waits for others. */
  #again(now) {
    const staying = this.seats.filter(stays);
    if (staying.length === 0 || !staying.every((seat) => seat.voted)) return;
    this.seats = staying;
    if (staying.length >= FEWEST) return this.#begin(now);
    for (const seat of staying) Object.assign(seat, { out: null, missed: 0, voted: false });
    Object.assign(this, { phase: "waiting", owners: null, last: null, result: null });
  }

  // ── What is seen of it ─────────────────────────────────────────────────────────────────────

  /** Everything, as players and watchers see it. Times are what is left, for clocks differ. */
  view(now) {
    const owned = this.owners && counts(this.players, this.owners);
    return {
      id: this.id, version: this.version, size: this.size, phase: this.phase, round: this.round, turns: this.turns,
      seats: this.seats.map(({ id, name, visit, awaySince, out, voted }, i) =>
        ({ id, name, visit, here: awaySince === null && out !== "left", out, voted, cells: owned?.[i] ?? 0 })),
      owners: this.owners, turn: this.turn, turn_ms: TURN_MS,
      left_ms: this.turnEnds === null ? null : Math.max(0, this.turnEnds - now),
      last: this.last, result: this.result, watchers: this.watchers,
    };
  }

  /** As the lobby lists it. */
  summary() {
    const { id, size, phase } = this;
    return { id, size, phase, names: this.seats.filter((seat) => seat.out === null).map((seat) => seat.name) };
  }
}
