import assert from "node:assert/strict";
import test from "node:test";

import { Points } from "../page/points.js";
import { History } from "../src/history.js";

function counted(history, count) {
  for (let i = 0; i < count; i += 1) {
    const n = history.newest + 1;
    history.add(n * 250, { cpu: [n, -n], disk: n === 2 ? [5, 6] : null });
  }
  return history;
}

test("a late viewer gets what is kept, by columns", () => {
  const history = counted(new History(3), 5);
  assert.deepEqual(history.after("cpu", 2, undefined, 0), {
    type: "history", chart: "cpu", run: history.run, from: 3, at: 750, steps: [250, 250], series: [[3, 4, 5], [-3, -4, -5]],
  });
});

test("a viewer who was away gets what follows, and nothing twice", () => {
  const history = counted(new History(10), 5);
  const columns = (since, run = history.run) => history.after("cpu", 1, run, since).series[0];
  assert.deepEqual(columns(3), [4, 5]);
  assert.deepEqual(columns(5), []);
  assert.deepEqual(columns(900), [], "a number that was never given");
  assert.deepEqual(columns(3, "another run"), [1, 2, 3, 4, 5]);
});

test("a tick without values is null in all columns", () => {
  const history = counted(new History(10), 3);
  assert.deepEqual(history.after("disk", 2, history.run, 0).series, [[null, 5, null], [null, 6, null]]);
});

test("the first viewer of all, before the first tick", () => {
  const history = new History(3);
  assert.deepEqual(history.current(), { run: history.run, n: 0, at: 0, values: {} });
  assert.deepEqual(history.after("cpu", 1, undefined, 0).series, [[]]);
});

test("three minutes of the widest chart fit into one message of the gateway", () => {
  const history = new History(720);
  for (let i = 0; i < 720; i += 1) history.add(Date.now() + i * 1_000, { network: [1.25e9, 1.25e9, 1.25e9] });
  assert(JSON.stringify(history.after("network", 3, history.run, 0)).length < 32_768);
});

test("points find their places in any order, and holes are known", () => {
  const points = new Points(1, 10);
  points.add(7, 1750, [7]);
  points.add(9, 2250, [9]);
  assert.deepEqual([points.count, points.missing, points.complete, points.newest], [2, 1, 7, 9]);
  assert.deepEqual(points.columns(), [[1.75, 1.751, 2.25], [7, null, 9]]);
  points.addHistory({ from: 6, at: 1500, steps: [250, 250, 250], series: [[6, 70, 8, 90]] });
  assert.deepEqual(points.columns()[1], [6, 7, 8, 9], "what was here stays");
  assert.deepEqual([points.missing, points.complete], [0, 9]);
});

test("points keep no more than they are told to", () => {
  const points = new Points(1, 3);
  for (const n of [1, 2, 3, 4]) points.add(n, n, [n]);
  points.add(1, 1, [1]);
  assert.deepEqual(points.columns()[1], [2, 3, 4]);
  points.add(90, 90, null);
  assert.deepEqual([points.count, points.missing, points.complete], [1, 2, 87]);
});
