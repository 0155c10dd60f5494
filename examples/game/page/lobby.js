// The lobby: who waits for players, who plays, and a reef that plays by itself to look at.
//
// In:  the lobby as the backend tells it. Out: `sit(id)` and `watch(id)`.

import { Board } from "./board.js";
import { badge, hexagon, html, middle, piece, svg, SIZE } from "./look.js";
import { canMove, kindOf, moved, movesOf, newBoard, turnedBy } from "./rules.js";

const $ = (id) => document.getElementById(id);
const SHOW_EVERY_MS = 1_100;

export class Lobby {
  #on;
  #show = new Board($("show"));
  #timer = 0;
  #rows = new Map(); // by match

  constructor(on) {
    this.#on = on;
    diagrams();
  }

  render({ matches, here }) {
    $("here").textContent = here === 1 ? "You are the only one here" : `${here} people here`;
    $("no-matches").hidden = matches.length > 0;
    const list = $("matches");
    for (const [id, row] of this.#rows) {
      if (matches.some((match) => match.id === id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    for (const [i, match] of matches.entries()) {
      const { element } = this.#row(match);
      if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null);
    }
  }

  /** The match's row; it stays the same element, for somebody may be about to press its button. */
  #row({ id, size, phase, names }) {
    let row = this.#rows.get(id);
    if (!row) {
      row = { seats: html("span", { class: "row-seats" }), text: html("span", { class: "row-text" }), button: html("button", { type: "button" }) };
      row.element = html("li", { "data-match": id }, row.seats, row.text, row.button);
      row.button.addEventListener("click", () => (row.element.dataset.phase === "waiting" ? this.#on.sit(id) : this.#on.watch(id)));
      this.#rows.set(id, row);
    }
    const waiting = phase === "waiting";
    row.element.dataset.phase = phase;
    row.seats.replaceChildren(...Array.from({ length: waiting ? size : names.length }, (_, seat) => badge(seat, seat < names.length)));
    row.text.replaceChildren(
      html("span", { class: "row-names" }, ...names.flatMap((name, i) => [i > 0 ? ", " : "", html("bdi", {}, name)])),
      html("span", { class: "soft" }, waiting ? `${size - names.length} of ${size} seats free` : "being played"));
    row.button.className = waiting ? "button" : "button quiet";
    row.button.textContent = waiting ? "Sit down" : "Watch";
    row.button.setAttribute("aria-label", `${row.button.textContent}: ${names.join(", ")}`);
    return row;
  }

  /** A match of nobody, while the lobby is looked at. */
  play() {
    if (this.#timer) return;
    const players = 4;
    let owners, turn, version = 0, round = 0, pause = 0;
    const seats = Array.from({ length: players }, (_, i) => ({ name: `${i}` }));
    const show = (last) => this.#show.show({ id: "show", version: ++version, round, seats, phase: "playing", turn: null, owners, last, result: null }, -1);
    const begin = () => { owners = newBoard(players); turn = 0; round++; pause = 0; };
    const step = (tell = show) => {
      if (pause > 0) { if (--pause === 0) begin(); return tell(null); }
      for (let i = 0; i < players && !canMove(players, owners, turn); i++) turn = (turn + 1) % players;
      const moves = movesOf(players, owners, turn);
      if (moves.length === 0) { pause = 4; return; }
      const gain = ([from, to]) => turnedBy(players, owners, turn, to).length + (kindOf(players, owners, turn, from, to) === "grow" ? 1 : 0) + Math.random();
      const [from, to] = moves.reduce((best, move) => (gain(move) > gain(best) ? move : best));
      const turned = turnedBy(players, owners, turn, to);
      const kind = kindOf(players, owners, turn, from, to);
      owners = moved(players, owners, turn, from, to);
      tell({ seat: turn, from, to, kind, turned });
      turn = (turn + 1) % players;
    };
    begin();
    for (let i = 0; i < 18; i++) step(() => {});
    show(null);
    this.#timer = matchMedia("(prefers-reduced-motion: reduce)").matches ? -1 : setInterval(() => { if (!document.hidden) step(); }, SHOW_EVERY_MS);
  }

  rest() {
    clearInterval(this.#timer);
    this.#timer = 0;
  }
}

/** Three small pictures of the rules. */
function diagrams() {
  const at = (q, r, ...children) => {
    const [x, y] = middle([q, r]);
    return svg("g", { transform: `translate(${x} ${y})` }, svg("path", { class: "water", d: hexagon(SIZE - 1.6) }), ...children);
  };
  const free = (mark) => svg("circle", { class: `dot ${mark}`, r: mark === "ring" ? 5 : 4 });
  const fill = (id, ...cells) => {
    $(id).setAttribute("viewBox", "-20 -52 110 74");
    $(id).replaceChildren(...cells);
  };
  fill("rule-grow", at(0, 0, piece(0)), at(1, -1, free("dot-on")), at(1, 0, piece(0)), at(2, -1, free("dot-on")), at(2, 0, free("dot-on")));
  fill("rule-leap", at(0, 0, svg("g", { class: "faint" }, piece(0))), at(1, -1), at(1, 0), at(2, -1, piece(0)), at(2, 0, free("ring")));
  fill("rule-turn", at(0, 0, piece(0)), at(1, -1, piece(0)), at(1, 0, piece(0)), at(2, -1, piece(0)), at(2, 0, piece(1)));
}
