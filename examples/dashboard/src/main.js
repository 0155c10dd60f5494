// The dashboard's backend: samples the machine, posts each sample to its group, answers the gateway.
// Start reading here, then viewers.js.
//
// In:  PAGE_PORT, GATEWAY_PORT, ADMIN_PORT.
//
// Holds always: a sample is one call per chart, however many watch it; there is no list of viewers.

import { setTimeout as pause } from "node:timers/promises";

import { CHARTS } from "../page/charts.js";
import { History } from "./history.js";
import { MACHINE, read } from "./machine.js";
import * as meters from "./meters.js";
import { Publisher } from "./publisher.js";
import { serve } from "./server.js";
import { Viewers } from "./viewers.js";

const { PAGE_PORT = "3000", GATEWAY_PORT = "8080", ADMIN_PORT = "8081" } = process.env;
const EVERY_MS = 250;
const KEPT_TICKS = (3 * 60_000) / EVERY_MS;
/** How often everybody hears how many they are: a page that hears nothing knows its line is dead. */
const BEAT_EVERY_MS = 1_000;
const METRICS_EVERY_MS = 1_000;

const history = new History(KEPT_TICKS);
const publisher = new Publisher(`http://127.0.0.1:${GATEWAY_PORT}/live`);
const origins = ["127.0.0.1", "localhost", "[::1]"].map((host) => `http://${host}:${PAGE_PORT}`);
/** Who was greeted since the last beat, which did not reach them. */
let arrived = 0;
const howMany = () => publisher.recipients("@broadcast") + arrived;
const viewers = new Viewers(history, origins, () => {
  arrived += 1;
  return { viewers: howMany(), every_ms: EVERY_MS, kept: KEPT_TICKS, machine: MACHINE };
});

/** Calls `work` again and again, `everyMs` from start to start, never twice at once. */
async function each(everyMs, work) {
  for (let next = performance.now(); ; next = Math.max(next + everyMs, performance.now())) {
    await pause(Math.max(0, next - performance.now()));
    await work();
  }
}

/** The gateway's own counters come from its admin port; without them its chart is empty. */
let fromGateway = null;
let before = null;
async function readGateway() {
  let now = null;
  try {
    const answer = await fetch(`http://127.0.0.1:${ADMIN_PORT}/metrics`, { signal: AbortSignal.timeout(METRICS_EVERY_MS) });
    now = { at: performance.now(), counters: meters.gateway(await answer.text()) };
  } catch {
    // not started yet, or gone
  }
  fromGateway = meters.rates(before?.counters, now?.counters, now?.at - before?.at);
  before = now;
}

let last = await read();
async function sample() {
  const now = await read();
  history.add(now.at, { ...meters.values(last, now), gateway: fromGateway });
  last = now;
  for (const chart of Object.keys(CHARTS)) void publisher.post(`@groups/${chart}`, history.sample(chart));
}

/** Who is there, the gateway says in its answer: how many took the message. */
async function beat() {
  const reached = arrived;
  await publisher.post("@broadcast", { type: "viewers", count: howMany() });
  arrived -= reached;
}

await serve(Number(PAGE_PORT), Number(GATEWAY_PORT), (call) => viewers.answer(call));
await Promise.all([each(EVERY_MS, sample), each(BEAT_EVERY_MS, beat), each(METRICS_EVERY_MS, readGateway)]);
