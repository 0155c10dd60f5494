// The rules of Reef, without players, clocks or connections. The backend decides by them; the page
// loads this same file to show what may be done.
//
// In:  how many play, who owns which cell, a move. Out: the next owners, or why the move is none.
//
// A reef of hexagons. In a turn one grows into a free cell beside an own one, or leaps with an own
// piece two cells far, which leaves its place free. All neighbours of the new piece become one's own.
//
// Holds always: nothing given is changed; a board is fair, for some symmetry of the hexagon takes
// the start of each player to that of each other one.

export const FEWEST = 2;
export const MOST = 4;
/** What a cell has that nobody owns. */
export const FREE = -1;

// Axial coordinates of pointy hexagons: east first, then anticlockwise.
const DIRECTIONS = [[1, 0], [1, -1], [0, -1], [-1, 0], [-1, 1], [0, 1]];

const distance = ([q, r], [s, t]) => (Math.abs(q - s) + Math.abs(r - t) + Math.abs(q + r - s - t)) / 2;
const add = ([q, r], [s, t]) => [q + s, r + t];
const times = (n, [q, r]) => [n * q, n * r];

const layouts = new Map();

/**
 * The board for so many players: `cells` [q, r] in reading order, and by a cell's place in them
 * `near` (those beside it) and `far` (those a leap away), `starts` by seat, `rocks` where no cell is.
 */
export function layout(players) {
  if (!layouts.has(players)) layouts.set(players, make(players));
  return layouts.get(players);
}

function make(players) {
  if (!Number.isInteger(players) || players < FEWEST || players > MOST) throw new RangeError(`no board for ${players} players`);
  const radius = players === 4 ? 4 : 3;
  const rocks = [[0, 0]];
  if (radius === 4) rocks.push(...DIRECTIONS.map((each, i) => add(each, DIRECTIONS[(i + 1) % 6])));
  const cells = [];
  for (let r = -radius; r <= radius; r++) {
    for (let q = -radius; q <= radius; q++) {
      if (distance([q, r], [0, 0]) <= radius && !rocks.some((rock) => distance(rock, [q, r]) === 0)) cells.push([q, r]);
    }
  }
  const at = (cell) => cells.findIndex((other) => distance(cell, other) === 0);
  const apart = (n) => cells.map((cell) => cells.flatMap((other, i) => (distance(cell, other) === n ? [i] : [])));
  const corners = DIRECTIONS.map((each) => times(radius, each));
  // Four do not fit six corners: the eastern and the western one stay free, and each player has a
  // second piece on the long way there, away from the near neighbour.
  const four = [[2, 4], [1, 5], [5, 1], [4, 2]].map(([corner, towards]) => [corners[corner], add(corners[corner], DIRECTIONS[towards])]);
  const starts = players === 4 ? four : Array.from({ length: players }, (_, seat) => corners.filter((_, i) => i % players === seat));
  return Object.freeze({ radius, cells, rocks, near: apart(1), far: apart(2), starts: starts.map((each) => each.map(at)) });
}

/** Who owns which cell at the start. */
export function newBoard(players) {
  const { cells, starts } = layout(players);
  return cells.map((_, i) => { const seat = starts.findIndex((each) => each.includes(i)); return seat < 0 ? FREE : seat; });
}

/** "grow", "leap", or `{ refused }`: why `seat` may not go there. */
export function kindOf(players, owners, seat, from, to) {
  const { cells, near, far } = layout(players);
  const isCell = (i) => Number.isInteger(i) && i >= 0 && i < cells.length;
  if (!isCell(from) || !isCell(to)) return { refused: `cells have numbers from 0 to ${cells.length - 1}` };
  if (owners[from] !== seat) return { refused: "a move starts from a piece of one's own" };
  if (owners[to] !== FREE) return { refused: "a move ends on a free cell" };
  if (near[from].includes(to)) return "grow";
  if (far[from].includes(to)) return "leap";
  return { refused: "a move goes one cell or two" };
}

/** The neighbours of `to` that would become `seat`'s. */
export function turnedBy(players, owners, seat, to) {
  return layout(players).near[to].filter((i) => owners[i] !== FREE && owners[i] !== seat);
}

/** The board after a move that `kindOf` has a kind for. */
export function moved(players, owners, seat, from, to) {
  const next = [...owners];
  if (kindOf(players, owners, seat, from, to) === "leap") next[from] = FREE;
  next[to] = seat;
  for (const i of turnedBy(players, owners, seat, to)) next[i] = seat;
  return next;
}

/** All moves of `seat`, as [from, to]. */
export function movesOf(players, owners, seat) {
  const { near, far } = layout(players);
  return owners.flatMap((owner, from) =>
    owner === seat ? [...near[from], ...far[from]].filter((to) => owners[to] === FREE).map((to) => [from, to]) : []);
}

export const canMove = (players, owners, seat) => movesOf(players, owners, seat).length > 0;

/** How many cells each seat owns. */
export function counts(players, owners) {
  return Array.from({ length: players }, (_, seat) => owners.filter((owner) => owner === seat).length);
}

/** The board when only `seat` can still move: what is free would fall to it, move by move. */
export const filledBy = (owners, seat) => owners.map((owner) => (owner === FREE ? seat : owner));
