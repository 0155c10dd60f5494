// The board as one SVG: shows a match, and lets whoever has the turn move.
//
// In:  a match as the backend tells it, and the own seat. Out: `move(from, to)`, `point(x, y)`.
//
// Holds always: what can be clicked is what the rules allow, and the backend still has the last
// word; with the keyboard one can do all that one can do with a pointer.

import { hexagon, middle, piece, svg, SHAPES, SIZE } from "./look.js";
import { FREE, kindOf, layout, newBoard, turnedBy } from "./rules.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Board {
  #svg;
  #on;
  #players = 0;
  #layout = null;
  #cells = [];
  #over = svg("g", { class: "over" });
  #owners = [];
  #names = [];
  #seat = -1;
  #mayMove = false;
  #chosen = null;
  #shown = null;
  #cursors = new Map();

  /** @param {{move(from, to), point(x, y), hint(text)}} on; without `move`, it is only looked at */
  constructor(element, on = {}) {
    this.#svg = element;
    this.#on = on;
    if (!on.move) return;
    element.addEventListener("click", (event) => this.#click(cellOf(event)));
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("pointerover", (event) => this.#preview(cellOf(event)));
    element.addEventListener("pointerleave", () => this.#preview(null));
    element.addEventListener("focusin", (event) => this.#preview(cellOf(event)));
    const point = (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(element.getScreenCTM().inverse());
      on.point?.(at.x, at.y);
    };
    element.addEventListener("pointermove", point);
    element.addEventListener("pointerdown", point);
  }

  /** Draws the board for so many players, once. */
  #draw(players) {
    if (players === this.#players) return;
    this.#players = players;
    this.#layout = layout(players);
    const { cells, rocks, radius } = this.#layout;
    const width = Math.sqrt(3) * SIZE * (2 * radius + 1) + 14;
    const height = SIZE * (3 * radius + 2) + 14;
    this.#svg.setAttribute("viewBox", `${-width / 2} ${-height / 2} ${width} ${height}`);
    this.#owners = cells.map(() => FREE);
    const rows = [...new Set(cells.map(([, r]) => r))];
    this.#cells = cells.map(([q, r], i) => {
      const [x, y] = middle([q, r]);
      const row = rows.indexOf(r) + 1;
      const column = cells.filter(([p, s]) => s === r && p <= q).length;
      const group = svg("g", { class: "cell", transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})`, "data-cell": i, "data-place": `row ${row}, cell ${column}` },
        svg("path", { class: "water", d: hexagon(SIZE - 1.6) }), svg("g", { class: "holds" }), svg("circle", { class: "dot", r: 3.4 }), svg("text", { class: "gain", y: 5.2 }));
      if (this.#on.move) for (const [key, value] of [["role", "button"], ["tabindex", i === 0 ? 0 : -1]]) group.setAttribute(key, value);
      return group;
    });
    const stones = rocks.map((rock) => {
      const [x, y] = middle(rock);
      return svg("path", { class: "rock", d: hexagon(SIZE - 6), transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})` });
    });
    this.#cursors.clear();
    this.#over.replaceChildren();
    this.#svg.replaceChildren(...stones, ...this.#cells, this.#over);
  }

  /** Before a match begins: where each seat will start, so far as it is taken. */
  preview(size, names, seat) {
    this.#draw(size);
    this.#names = names;
    this.#seat = seat;
    this.#mayMove = false;
    this.#chosen = null;
    this.#put(newBoard(size), null);
    for (const [i, cell] of this.#cells.entries()) cell.classList.toggle("pale", this.#owners[i] >= names.length);
    this.#marks();
  }

  /** @param match as the backend tells it  @param seat one's own, or -1 */
  show(match, seat) {
    this.#draw(match.seats.length);
    this.#names = match.seats.map((each) => each.name);
    this.#seat = seat;
    const mayMove = match.phase === "playing" && match.turn === seat;
    if (!mayMove || this.#chosen === null || match.owners[this.#chosen] !== seat) this.#chosen = null;
    this.#mayMove = mayMove;
    const news = this.#shown?.id === match.id && this.#shown.version < match.version && this.#shown.round === match.round;
    this.#put(match.owners, news ? match.last : null);
    this.#shown = match;
    for (const [i, cell] of this.#cells.entries()) {
      cell.classList.remove("pale");
      cell.classList.toggle("last", match.last?.to === i);
      cell.classList.toggle("won", match.result?.winners.includes(this.#owners[i]) ?? false);
      cell.classList.toggle("lost", match.result !== null && !match.result.winners.includes(this.#owners[i]));
    }
    this.#marks();
  }

  /** Changes what differs; with the move that did it, it is seen happening. */
  #put(owners, last) {
    const moving = last && !calm.matches;
    for (const [i, owner] of owners.entries()) {
      const cell = this.#cells[i];
      const was = this.#owners[i];
      if (owner === was) continue;
      const holds = cell.querySelector(".holds");
      holds.replaceChildren(...(owner === FREE ? [] : [piece(owner)]));
      cell.setAttribute("data-owner", owner);
      if (!moving || owner === FREE) continue;
      const [x, y] = middle(this.#layout.cells[i]);
      if (i === last.to) {
        const [fromX, fromY] = middle(this.#layout.cells[last.from]);
        const start = `translate(${fromX - x}px, ${fromY - y}px) scale(${last.kind === "leap" ? 1 : 0.2})`;
        holds.animate([{ transform: start }, { transform: "none" }], { duration: last.kind === "leap" ? 320 : 240, easing: "cubic-bezier(.2,.9,.3,1.2)" });
      } else {
        const order = last.turned?.indexOf(i) ?? -1;
        holds.animate([{ transform: "scale(0, 1)" }, { transform: "none" }], { duration: 260, delay: 200 + Math.max(0, order) * 60, fill: "backwards", easing: "ease-out" });
      }
    }
    this.#owners = [...owners];
  }

  // ── What may be done ───────────────────────────────────────────────────────────────────────

  /** Where a click on a free cell would come from: the chosen piece, or any beside it. */
  #from(to) {
    if (!this.#mayMove || this.#owners[to] !== FREE) return null;
    const kind = (from) => kindOf(this.#players, this.#owners, this.#seat, from, to);
    if (this.#chosen !== null) return typeof kind(this.#chosen) === "string" ? this.#chosen : null;
    return this.#layout.near[to].find((i) => this.#owners[i] === this.#seat) ?? null;
  }

  #marks() {
    for (const [i, cell] of this.#cells.entries()) {
      const from = this.#from(i);
      const kind = from === null ? null : kindOf(this.#players, this.#owners, this.#seat, from, i);
      const own = this.#mayMove && this.#owners[i] === this.#seat;
      cell.classList.toggle("may", kind !== null || own);
      cell.classList.toggle("chosen", this.#chosen === i);
      if (kind) cell.setAttribute("data-move", kind);
      else cell.removeAttribute("data-move");
      cell.querySelector(".gain").textContent = "";
      cell.classList.remove("would");
      const owner = this.#owners[i];
      const whose = owner === FREE ? "free" : `${owner === this.#seat ? "yours" : this.#names[owner] ?? "a free seat's"}, ${SHAPES[owner].name}`;
      const does = kind ? `, ${kind} here and turn ${turnedBy(this.#players, this.#owners, this.#seat, i).length}` : "";
      cell.setAttribute("aria-label", `${cell.getAttribute("data-place")}: ${whose}${does}`);
      if (this.#on.move) cell.setAttribute("aria-pressed", this.#chosen === i);
    }
    for (const seat of SHAPES.keys()) this.#svg.classList.toggle(`mine-${seat}`, this.#mayMove && seat === this.#seat);
    this.#on.hint?.(!this.#mayMove ? "" : this.#chosen === null
      ? "Choose a marked cell to grow, or a piece of yours to leap with it"
      : "A dot is where it grows, a ring is where it leaps");
  }

  /** What a move would win, while the pointer or the focus is on its cell. */
  #preview(cell) {
    for (const each of this.#cells) {
      each.classList.remove("would");
      each.querySelector(".gain").textContent = "";
    }
    if (cell === null || this.#from(cell) === null) return;
    const turned = turnedBy(this.#players, this.#owners, this.#seat, cell);
    for (const i of turned) this.#cells[i].classList.add("would");
    if (turned.length > 0) this.#cells[cell].querySelector(".gain").textContent = `+${turned.length}`;
  }

  #choose(cell) {
    this.#chosen = cell;
    this.#marks();
  }

  #click(cell) {
    if (cell === null || !this.#mayMove) return;
    if (this.#owners[cell] === this.#seat) return this.#choose(this.#chosen === cell ? null : cell);
    const from = this.#from(cell);
    if (from !== null) {
      this.#mayMove = false;
      this.#chosen = null;
      this.#marks();
      return this.#on.move(from, cell);
    }
    this.#choose(null);
  }

  /** The move was refused: it is one's turn still. */
  again() {
    if (this.#shown) this.show(this.#shown, this.#seat);
  }

  #key(event) {
    const at = cellOf(event);
    if (at === null) return;
    if (event.key === "Enter" || event.key === " ") this.#click(at);
    else if (event.key === "Escape") this.#choose(null);
    else if (ARROWS[event.key]) this.#walk(at, ARROWS[event.key]);
    else return;
    event.preventDefault();
  }

  /** To the nearest cell that way, over rocks too. */
  #walk(at, [dx, dy]) {
    const [x, y] = middle(this.#layout.cells[at]);
    let best = null;
    for (const [i, cell] of this.#layout.cells.entries()) {
      const [toX, toY] = middle(cell);
      const ahead = (toX - x) * dx + (toY - y) * dy;
      const aside = Math.abs((toX - x) * dy) + Math.abs((toY - y) * dx);
      if (ahead < 1 || aside > ahead) continue;
      const far = ahead + 1.2 * aside;
      if (!best || far < best.far - 0.01) best = { i, far };
    }
    if (!best) return;
    this.#cells[at].setAttribute("tabindex", -1);
    this.#cells[best.i].setAttribute("tabindex", 0);
    this.#cells[best.i].focus();
  }

  // ── Where the others point ─────────────────────────────────────────────────────────────────

  /** A peer's pointer, in the board's units; it fades when it rests. */
  cursor(id, seat, name, x, y) {
    let cursor = this.#cursors.get(id);
    if (!cursor) {
      const mark = svg("path", { class: "pointer", d: "M0 0L3.8 11.4L6 6.6L10.8 5Z" });
      const label = svg("text", { x: 9, y: 17 });
      cursor = { element: svg("g", { class: `cursor seat-${seat}`, "data-peer": id }, mark, label), timer: 0 };
      label.textContent = name;
      this.#cursors.set(id, cursor);
      this.#over.append(cursor.element);
    }
    const pixel = 1 / (this.#svg.getScreenCTM()?.a || 1); // as large on every board and screen
    cursor.element.setAttribute("transform", `translate(${x} ${y}) scale(${1.5 * pixel})`);
    cursor.element.classList.remove("resting");
    clearTimeout(cursor.timer);
    cursor.timer = setTimeout(() => cursor.element.classList.add("resting"), 3_000);
  }

  dropCursors(keep = []) {
    for (const [id, { element, timer }] of this.#cursors) {
      if (keep.includes(id)) continue;
      clearTimeout(timer);
      element.remove();
      this.#cursors.delete(id);
    }
  }
}

function cellOf(event) {
  const cell = event.target.closest?.("[data-cell]");
  return cell ? Number(cell.getAttribute("data-cell")) : null;
}
