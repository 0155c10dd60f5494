import assert from "node:assert/strict";
import test from "node:test";

import { quantity, axisEnd, tick } from "../page/quantities.js";
import { History } from "../src/history.js";
import { Viewers } from "../src/viewers.js";

const ORIGIN = "http://localhost:3000";
function viewers() {
  const history = new History(3);
  history.add(1_000, { cpu: [12.5, 3] });
  return new Viewers(history, [ORIGIN], () => ({ machine: { host: "möwe" } }));
}
const message = (route, body) => viewers().answer({ event: "MESSAGE", route, body: JSON.stringify(body) });

test("the greeting is the current state, in a header that HTTP takes", () => {
  const { status, headers } = viewers().answer({ event: "CONNECT", origin: ORIGIN });
  assert.equal(status, 200);
  assert.match(headers["Tidegate-Reply"], /^[\x20-\x7e]+$/);
  const { type, n, values, machine } = JSON.parse(headers["Tidegate-Reply"]);
  assert.deepEqual({ type, n, values, machine }, { type: "welcome", n: 1, values: { cpu: [12.5, 3] }, machine: { host: "möwe" } });
});

test("a page of another site is refused and a client without a page admitted", () => {
  assert.equal(viewers().answer({ event: "CONNECT", origin: "https://elsewhere.example" }).status, 403);
  assert.equal(viewers().answer({ event: "CONNECT", origin: "http://localhost:3001" }).status, 403);
  assert.equal(viewers().answer({ event: "CONNECT", origin: undefined }).status, 200);
});

test("watching joins the chart's group and brings its history", () => {
  const { headers, body } = message("watch", { chart: "cpu" });
  assert.deepEqual(headers, { "Tidegate-Join": "cpu" });
  assert.deepEqual(body.series, [[12.5], [3]]);
  assert.deepEqual(message("unwatch", { chart: "cpu" }), { status: 200, headers: { "Tidegate-Leave": "cpu" }, body: { type: "unwatched", chart: "cpu" } });
});

test("what nobody can watch joins nothing and is told what there is", () => {
  for (const chart of ["rain", "toString", undefined, ["cpu"]]) {
    const { status, headers, body } = message("watch", { chart });
    assert.deepEqual([status, headers, body.type], [400, {}, "error"]);
    assert.match(body.message, /there are cpu, memory/);
  }
  assert.match(viewers().answer({ event: "MESSAGE", route: "watch", body: "{" }).body.message, /no JSON/);
  assert.deepEqual(message("watch", null).headers, {});
});

test("quantities carry a unit that fits their size", () => {
  assert.deepEqual(quantity(12.34, "percent"), { number: "12.3", unit: "%" });
  assert.deepEqual(quantity(24_106, "mebibytes"), { number: "23.5", unit: "GiB" });
  assert.deepEqual(quantity(1_500_000, "bytes_per_s"), { number: "1.50", unit: "MB/s" });
  assert.deepEqual(quantity(null, "bytes_per_s"), { number: "–", unit: "" });
  assert.equal(tick(500_000, "bytes_per_s", 1_000_000), "0.5 MB/s");
  assert.equal(tick(0, "mebibytes", 24_106), "0 GiB");
  assert.deepEqual([axisEnd(0, 10), axisEnd(11, 10), axisEnd(399, 1), axisEnd(401, 1)], [10, 20, 400, 500]);
});
