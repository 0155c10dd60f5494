import assert from "node:assert/strict";
import { test } from "node:test";

import { FREE, canMove, counts, filledBy, kindOf, layout, moved, movesOf, newBoard, turnedBy } from "../src/rules.js";

const SIZES = [2, 3, 4];

test("a board has no cell where its rocks are, and as many as the rules of its size say", () => {
  assert.deepEqual(SIZES.map((players) => layout(players).cells.length), [36, 36, 54]);
  assert.throws(() => layout(5), RangeError);
});

test("every board is fair: a symmetry of the hexagon takes each player's start to each other's", () => {
  // The twelve: six turns, each with and without a reflection, in axial coordinates.
  const turn = ([q, r]) => [-r, q + r];
  const reflect = ([q, r]) => [r, q];
  const symmetries = [];
  for (const first of [(cell) => cell, reflect]) {
    for (let n = 0; n < 6; n++) symmetries.push((cell) => Array.from({ length: n }).reduce(turn, first(cell)));
  }
  for (const players of SIZES) {
    const { cells, starts } = layout(players);
    const at = ([q, r]) => cells.findIndex(([p, s]) => p === q && s === r);
    const keep = symmetries.map((each) => cells.map((cell) => at(each(cell)))).filter((image) => !image.includes(-1));
    assert.equal(keep.length, 12, `cells and rocks for ${players}`);
    const same = (image, a, b) => JSON.stringify(starts[a].map((i) => image[i]).sort()) === JSON.stringify([...starts[b]].sort());
    const all = starts.map((_, i) => i);
    for (const to of all) {
      const fair = keep.some((image) => same(image, 0, to) && all.every((a) => all.some((b) => same(image, a, b))));
      assert(fair, `seat 0 and seat ${to} of ${players}`);
    }
  }
});

test("cells beside each other know it of each other", () => {
  for (const players of SIZES) {
    const { near, far } = layout(players);
    for (const those of [near, far]) those.forEach((others, i) => others.forEach((other) => assert(those[other].includes(i))));
  }
});

test("to grow fills a cell, to leap moves a piece, and both turn the neighbours", () => {
  const { near, far } = layout(2);
  const from = layout(2).starts[0][0];
  const board = newBoard(2);
  const grown = moved(2, board, 0, from, near[from][0]);
  assert.deepEqual(counts(2, grown), [4, 3]);
  const to = far[from].find((i) => board[i] === FREE && turnedBy(2, board, 0, i).length === 0);
  const neighbour = near[to].find((i) => !near[from].includes(i) && board[i] === FREE);
  const beside = board.with(neighbour, 1);
  assert.deepEqual(turnedBy(2, beside, 0, to), [neighbour]);
  const leapt = moved(2, beside, 0, from, to);
  assert.equal(leapt[from], FREE);
  assert.equal(leapt[to], 0);
  assert.equal(leapt[neighbour], 0);
  assert.deepEqual(board, newBoard(2), "what was given is as it was");
});

test("a move is refused with its reason", () => {
  const { near, starts } = layout(2);
  const board = newBoard(2);
  const [own] = starts[0];
  const free = near[own][0];
  const why = (from, to) => kindOf(2, board, 0, from, to).refused;
  assert.match(why(free, own), /own/);
  assert.match(why(starts[1][0], free), /own/);
  assert.match(why(own, starts[1][0]), /free/);
  assert.match(why(own, board.findIndex((owner, i) => owner === FREE && !near[own].includes(i) && !layout(2).far[own].includes(i))), /one cell or two/);
  for (const nonsense of [-1, 36, 1.5, "1", null, undefined, NaN]) {
    assert.match(why(nonsense, free), /0 to 35/);
    assert.match(why(own, nonsense), /0 to 35/);
  }
});

test("whatever is played, no piece appears from nowhere and every listed move is allowed", () => {
  let seed = 7;
  const chance = (n) => { seed = (seed * 48_271) % 2_147_483_647; return seed % n; };
  for (let game = 0; game < 60; game++) {
    const players = SIZES[game % SIZES.length];
    let board = newBoard(players);
    for (let n = 0; n < 80; n++) {
      const seat = n % players;
      const moves = movesOf(players, board, seat);
      assert.equal(canMove(players, board, seat), moves.length > 0);
      if (moves.length === 0) continue;
      const [from, to] = moves[chance(moves.length)];
      const kind = kindOf(players, board, seat, from, to);
      assert(kind === "grow" || kind === "leap");
      const turned = turnedBy(players, board, seat, to).length;
      const before = counts(players, board);
      board = moved(players, board, seat, from, to);
      const after = counts(players, board);
      const sum = (all) => all.reduce((a, b) => a + b);
      assert.equal(sum(after), sum(before) + (kind === "grow" ? 1 : 0));
      assert.equal(after[seat], before[seat] + turned + (kind === "grow" ? 1 : 0));
    }
  }
});

test("what is free falls to the only one who can move", () => {
  assert.deepEqual(filledBy([0, FREE, 1, FREE], 1), [0, 1, 1, 1]);
});
