// The match: the board, whose turn it is, the players, their reactions and their direct connections.
//
// In:  the match as the backend tells it, and who one is. Out: requests, by `ask(action, fields)`.
//
// Holds always: what is shown is the newest version that has come; what peers send moves pointers
// and shows reactions, and nothing else.

import { Board } from "./board.js";
import { badge, html, SHAPES } from "./look.js";
import { Peers } from "./peers.js";
import { REACTIONS, picture } from "./reactions.js";

const $ = (id) => document.getElementById(id);
const POINT_EVERY_MS = 40;

export class MatchView {
  #ask;
  #you = null;
  #match = null;
  #ends = 0;
  #peers;
  #states = new Map();
  #board;
  #pointed = 0;

  /** @param {(action, fields) => Promise} ask through the gateway; it says itself what went wrong */
  constructor(ask, signal) {
    this.#ask = ask;
    this.#peers = new Peers(signal, { message: (from, data) => this.#fromPeer(from, data), state: (states) => this.#links(states) });
    this.#board = new Board($("board"), {
      move: (from, to) => this.#ask("move", { from, to }).catch(() => this.#board.again()),
      point: (x, y) => this.#point(x, y),
      hint: (text) => { $("hint").textContent = text; },
    });
    for (const action of ["start", "rematch"]) $(action).addEventListener("click", () => this.#ask(action).catch(() => {}));
    for (const reaction of REACTIONS) {
      const button = html("button", { type: "button", "aria-label": `React: ${reaction}`, "data-reaction": reaction }, picture(reaction));
      button.addEventListener("click", () => { this.#peers.send({ reaction }); this.#react(this.#seat, reaction); });
      $("reactions").append(button);
    }
    setInterval(() => this.#clock(), 200);
  }

  get #seat() {
    return this.#match?.seats.findIndex((seat) => seat.id === this.#you && seat.out !== "left") ?? -1;
  }

  /** Whether leaving would give up a seat in the middle of the match. */
  get atStake() {
    return this.#match?.phase === "playing" && this.#match.seats[this.#seat]?.out === null;
  }

  render(match, you) {
    if (this.#match?.id === match.id && this.#match.version >= match.version) return;
    const turned = this.#match?.turn !== match.turn && match.turn !== null;
    this.#match = match;
    this.#you = you;
    this.#ends = match.left_ms === null ? 0 : performance.now() + match.left_ms;
    const seat = this.#seat;
    if (match.owners) this.#board.show(match, seat);
    else this.#board.preview(match.size, match.seats.map((each) => each.name), seat);
    $("board").dataset.turns = match.turns;
    this.#status(seat);
    this.#players(seat);
    this.#clock();
    this.#peers.update(seat < 0 ? null : you, match.seats);
    this.#board.dropCursors(match.seats.filter((each) => each.here).map((each) => each.id));
    document.title = match.turn === seat && seat >= 0 ? "Your turn · Reef" : "Reef";
    if (turned && match.turn === seat && document.activeElement === document.body) $("board").querySelector('[tabindex="0"]')?.focus({ preventScroll: true });
  }

  /** Nothing is shown any more: the page is in the lobby. */
  clear() {
    this.#match = null;
    this.#peers.update(null, []);
    this.#board.dropCursors();
    document.title = "Reef";
  }

  signal(event) {
    this.#peers.receive(event);
  }

  // ── What is said about it ──────────────────────────────────────────────────────────────────

  #status(seat) {
    const { phase, seats, size, turn, result, last } = this.#match;
    const name = (i) => seats[i].name;
    const me = seats[seat];
    let title, text = "";
    if (phase === "waiting") {
      title = size - seats.length === 1 ? "Waiting for one more player" : `Waiting for ${size - seats.length} more players`;
      text = seat < 0 ? "There is a free seat in the lobby." : "It begins when all seats are taken.";
    } else if (phase === "playing") {
      title = turn === seat ? "Your turn" : `${name(turn)} moves`;
      const missed = last?.kind === "missed" && `${last.seat === seat ? "You have" : `${name(last.seat)} has`} missed a turn.`;
      text = missed || (seat < 0 ? "You are watching." : me.out ? "You have forfeited: the others play on." : `You play the ${SHAPES[seat].name}s.`);
    } else {
      const { winners, why } = result;
      const owned = seats.map((each) => each.cells).sort((a, b) => b - a).join(" to ");
      title = winners.length > 1 ? `A draw: ${winners.map(name).join(" and ")}` : winners[0] === seat ? "You win!" : `${name(winners[0])} wins`;
      text = { full: `The reef is full, ${owned}.`, stuck: `Nobody else can move, ${owned}.`, stalled: `Nothing grows any more, ${owned}.`, alone: "The others have given up." }[why];
      const voted = seats.filter((each) => each.voted && each.id !== this.#you).map((each) => each.name);
      if (voted.length > 0 && !me?.voted) text += ` ${voted.join(" and ")} would like a rematch.`;
      if (me?.voted) text += " Waiting for the others to agree.";
    }
    $("status").dataset.seat = phase === "playing" ? turn : phase === "over" && result.winners.length === 1 ? result.winners[0] : "";
    $("status").dataset.phase = phase;
    $("status").dataset.mine = phase === "playing" && turn === seat;
    $("status-title").textContent = title;
    $("status-text").textContent = text;
    const staying = seats.filter((each) => each.id !== this.#you && each.here);
    $("start").hidden = !(phase === "waiting" && seat === 0 && seats.length >= 2);
    $("copy").hidden = phase !== "waiting";
    $("rematch").hidden = !(phase === "over" && me && !me.voted);
    $("rematch").textContent = staying.length > 0 ? "Rematch" : "Wait for new players";
    $("to-lobby").hidden = phase !== "over";
    $("status-buttons").hidden = [...$("status-buttons").children].every((button) => button.hidden);
  }

  #players(mine) {
    const { seats, size, phase, turn, result, watchers } = this.#match;
    const rows = Array.from({ length: phase === "waiting" ? size : seats.length }, (_, i) => {
      const seat = seats[i];
      if (!seat) return html("li", { class: "player empty-seat" }, badge(i, false), html("span", { class: "player-name soft" }, "Free seat"));
      const note = seat.out === "left" ? "left" : seat.out === "forfeit" ? "forfeited" : !seat.here ? "away" : result?.winners.includes(i) ? "winner" : seat.voted ? "rematch?" : "";
      const row = html("li", { class: `player seat-${i}`, "data-player": seat.id, "data-here": String(seat.here), "data-turn": String(turn === i) },
        badge(i),
        html("span", { class: "player-name" }, html("bdi", {}, seat.name), i === mine ? html("span", { class: "soft you" }, "you") : ""),
        html("span", { class: "note", "data-note": note }, note),
        html("span", { class: "link" }),
        html("span", { class: "cells", "aria-label": `${seat.cells} cells` }, phase === "waiting" ? "" : String(seat.cells)),
        html("span", { class: "bar" }, html("span", { class: "bar-fill" })));
      return row;
    });
    if (watchers > 0) rows.push(html("li", { class: "watchers soft" }, watchers === 1 ? "1 person watches" : `${watchers} people watch`));
    $("players").replaceChildren(...rows);
    this.#links(this.#states);
  }

  #clock() {
    const { phase, turn, turn_ms } = this.#match ?? {};
    if (phase !== "playing") return;
    const left = Math.max(0, this.#ends - performance.now());
    const row = $("players").children[turn];
    row.querySelector(".bar-fill").style.transform = `scaleX(${left / turn_ms})`;
    row.classList.toggle("hurry", left < 6_000);
    row.querySelector(".note").textContent = `${Math.ceil(left / 1_000)} s`;
  }

  // ── Peers ──────────────────────────────────────────────────────────────────────────────────

  #links(states) {
    this.#states = states;
    for (const row of $("players").querySelectorAll("[data-player]")) {
      const state = states.get(row.dataset.player);
      const link = row.querySelector(".link");
      link.dataset.peer = state ?? "";
      link.title = { open: "Directly connected", connecting: "Connecting directly", none: "No direct connection" }[state] ?? "";
    }
    const all = [...states.values()];
    const open = all.filter((state) => state === "open").length;
    const overall = open > 0 ? "open" : all.includes("connecting") ? "connecting" : "none";
    $("peers-state").dataset.state = overall;
    $("peers-state").textContent = all.length === 0 ? "Nobody to react to yet"
      : { open: `Directly connected to ${open} of ${all.length}`, connecting: "Connecting directly", none: "No direct connection" }[overall];
    for (const button of $("reactions").children) button.disabled = open === 0;
  }

  #point(x, y) {
    if (performance.now() - this.#pointed < POINT_EVERY_MS || this.#seat < 0) return;
    this.#pointed = performance.now();
    this.#peers.send({ x: Math.round(x), y: Math.round(y) });
  }

  /** A peer is another person's browser: only what is expected is taken. */
  #fromPeer(from, { x, y, reaction }) {
    const seat = this.#match?.seats.findIndex((each) => each.id === from) ?? -1;
    if (seat < 0) return;
    if (Math.abs(x) < 400 && Math.abs(y) < 400) this.#board.cursor(from, seat, this.#match.seats[seat].name, x, y);
    if (REACTIONS.includes(reaction)) this.#react(seat, reaction);
  }

  #react(seat, reaction) {
    const bubble = html("span", { class: `reaction seat-${seat}`, "data-shown": reaction }, picture(reaction), html("bdi", {}, this.#match.seats[seat].name));
    bubble.style.left = `${12 + Math.random() * 70}%`;
    bubble.addEventListener("animationend", () => bubble.remove());
    $("stage").append(bubble);
  }
}
