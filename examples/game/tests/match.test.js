import assert from "node:assert/strict";
import { test } from "node:test";

import { AWAY_MS, AWAY_WAITING_MS, MISSED_TURNS, Match, TURN_MS } from "../src/match.js";
import { layout, movesOf } from "../src/rules.js";

const person = (name) => ({ id: name.toLowerCase(), name, visit: "1" });
const PEOPLE = ["Ada", "Grace", "Mary", "Alan"].map(person);

function match(players, now = 0) {
  const made = new Match("m", players, now);
  for (const each of PEOPLE.slice(0, players)) made.sit(each, now);
  return made;
}

const refused = (code, act) => assert.throws(act, (error) => error.code === code, code);

/** Lets who has the turn make its first move, or one that `wanted` takes. */
function step(made, now, wanted = () => true) {
  const { turn } = made;
  const [from, to] = movesOf(made.players, made.owners, turn).find(wanted);
  made.move(made.seats[turn].id, from, to, now);
}

test("a match begins when all seats are taken, or when its host says so", () => {
  const made = new Match("m", 3, 0);
  made.sit(PEOPLE[0], 0);
  refused("too_few", () => made.start("ada", 0));
  made.sit(PEOPLE[1], 0);
  refused("not_host", () => made.start("grace", 0));
  refused("not_seated", () => made.start("mary", 0));
  assert.equal(made.phase, "waiting");
  made.start("ada", 0);
  assert.equal(made.phase, "playing");
  refused("begun", () => made.sit(PEOPLE[2], 0));
  for (const size of [1, 5, 2.5, "2", undefined]) refused("bad_size", () => new Match("m", size, 0));
});

test("only whose turn it is moves, and a refusal changes nothing", () => {
  const made = match(2);
  const before = JSON.stringify(made.view(0));
  const [from, to] = movesOf(2, made.owners, 1)[0];
  refused("not_your_turn", () => made.move("grace", from, to, 0));
  refused("illegal_move", () => made.move("ada", from, to, 0));
  refused("not_seated", () => made.move("nobody", from, to, 0));
  assert.equal(JSON.stringify(made.view(0)), before);
  step(made, 0);
  assert.equal(made.turn, 1);
  assert(made.version > JSON.parse(before).version);
});

test("every match ends by itself, with the most cells winning", () => {
  for (const players of [2, 3, 4]) {
    const made = match(players);
    for (let n = 0; made.phase === "playing"; n++) {
      assert(n < 500, "it goes on and on");
      step(made, n);
    }
    const cells = made.view(0).seats.map((seat) => seat.cells);
    for (const winner of made.result.winners) assert.equal(cells[winner], Math.max(...cells));
  }
});

test("leaping to and fro ends by a count", () => {
  const made = match(2);
  const { far } = layout(2);
  let moves = 0;
  for (; made.phase === "playing"; moves++) step(made, 0, ([from, to]) => far[from].includes(to));
  assert.equal(made.result.why, "stalled");
  assert.equal(moves, 8);
});

test("a turn that is not taken passes, and a seat that misses three in a row forfeits", () => {
  const made = match(3);
  assert.equal(made.due(), TURN_MS);
  made.tick(TURN_MS - 1);
  assert.equal(made.turn, 0);
  let now = TURN_MS;
  made.tick(now);
  assert.equal(made.turn, 1);
  assert.deepEqual(made.last, { seat: 0, kind: "missed" });
  for (let missed = 1; missed < MISSED_TURNS; missed++) {
    step(made, now);
    step(made, now);
    assert.equal(made.turn, 0);
    assert.equal(made.seats[0].out, null);
    now = made.due();
    made.tick(now);
  }
  assert.equal(made.seats[0].out, "forfeit");
  assert.equal(made.phase, "playing", "the two others play on");
  step(made, now);
  step(made, now);
  assert.equal(made.turn, 1);
});

test("who is away and back within the time has the seat; who stays away forfeits it", () => {
  const made = match(3);
  made.away("grace", 1_000);
  assert.equal(made.view(1_000).seats[1].here, false);
  made.back({ ...PEOPLE[1], visit: "2" }, 2_000);
  assert.equal(made.view(2_000).seats[1].here, true);
  assert.equal(made.view(2_000).seats[1].visit, "2");
  for (const at of [20_000, 40_000, 60_000]) { made.tick(at); if (made.phase === "playing") step(made, at); }
  assert.equal(made.seats[1].out, null);

  made.away("grace", 61_000);
  made.tick(61_000 + AWAY_MS - 1);
  assert.equal(made.seats[1].out, null);
  made.tick(61_000 + AWAY_MS);
  assert.equal(made.seats[1].out, "forfeit");
});

test("the last one left wins, whatever is on the board", () => {
  const made = match(2);
  made.leave("ada", 0);
  assert.deepEqual(made.result, { why: "alone", winners: [1] });
  assert.equal(made.abandoned, false);
  made.leave("grace", 0);
  assert.equal(made.abandoned, true);
});

test("before the start, leaving or staying away frees the seat", () => {
  const made = new Match("m", 3, 0);
  for (const each of PEOPLE.slice(0, 2)) made.sit(each, 0);
  made.away("ada", 0);
  assert.equal(made.due(), AWAY_WAITING_MS);
  assert.deepEqual(made.tick(AWAY_WAITING_MS), ["ada"]);
  assert.deepEqual(made.seats.map((seat) => seat.id), ["grace"]);
  made.leave("grace", 0);
  assert.equal(made.abandoned, true);
});

test("a rematch begins when all who stay want it, and another one has the first turn", () => {
  const made = match(3);
  refused("not_over", () => made.rematch("ada", 0));
  while (made.phase === "playing") step(made, 0);
  made.rematch("ada", 0);
  assert.equal(made.phase, "over");
  made.leave("mary", 0);
  refused("not_seated", () => made.rematch("mary", 0));
  assert.equal(made.phase, "over");
  made.rematch("grace", 0);
  assert.equal(made.phase, "playing");
  assert.equal(made.players, 2);
  assert.equal(made.turn, 1);
  assert.deepEqual(made.view(0).seats.map((seat) => seat.cells), [3, 3]);
});

test("who stays alone and wants to play waits for others again", () => {
  const made = match(2);
  made.leave("grace", 0);
  made.rematch("ada", 0);
  assert.equal(made.phase, "waiting");
  made.sit(PEOPLE[2], 0);
  assert.equal(made.phase, "playing");
});
