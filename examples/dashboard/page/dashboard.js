// The dashboard's page: what the gateway's messages mean, which charts are watched, what is shown.
//
// Holds always: a chart that is switched off, or paused, is left at the gateway, so its samples
// are not sent. A number that is missing is asked for; a point is shown once.

import { Card } from "./card.js";
import { CHARTS } from "./charts.js";
import { Line } from "./line.js";
import { Points } from "./points.js";
import { clock, text } from "./quantities.js";

const $ = (id) => document.getElementById(id);
const ANSWER_WITHIN_MS = 5_000;

// ── What is known ──────────────────────────────────────────────────────────────────────────

let run = null; // the backend's run that the numbers belong to
let paused = false;
let live = false;
let span = 60;
let host = "";

/**
 * By name: whether one wants it (`on`), whether the gateway has us in its group (`joined`), whether
 * the history of this run was fetched (`filled`), the timer of a question that is not answered yet.
 */
const chosen = new URLSearchParams(location.search).get("charts")?.split(",");
const charts = new Map(Object.entries(CHARTS).map(([name, chart]) => {
  const state = { name, chart, on: !chosen || chosen.includes(name), joined: false, filled: false, asking: 0, points: new Points(chart.series.length, 1), card: null };
  state.card = new Card(name, chart, (on) => choose(state, on));
  return [name, state];
}));

// ── What is watched ────────────────────────────────────────────────────────────────────────

const wanted = (state) => state.on && !paused;

/** Asks for whatever is missing in one chart: to join, to leave, the history. One question at a time. */
function settle(state) {
  if (!live || state.asking) return;
  if (!wanted(state)) {
    if (state.joined) ask(state, { action: "unwatch", chart: state.name });
  } else if (!state.joined || !state.filled || state.points.missing > 0) {
    ask(state, { action: "watch", chart: state.name, run, since: state.filled ? state.points.complete : 0 });
  }
}

function ask(state, question) {
  line.send(question);
  state.asking = setTimeout(() => answered(state), ANSWER_WITHIN_MS); // then once more
}

function answered(state) {
  clearTimeout(state.asking);
  state.asking = 0;
  settle(state);
}

function choose(state, on) {
  state.on = on;
  state.card.subscribed(on);
  const place = new URL(location.href);
  const names = [...charts.values()].filter((each) => each.on).map((each) => each.name);
  if (names.length === charts.size) place.searchParams.delete("charts");
  else place.searchParams.set("charts", names.join(","));
  history.replaceState(null, "", place.href.replaceAll("%2C", ","));
  settle(state);
  drawSoon();
}

function pause() {
  paused = !paused;
  document.body.classList.toggle("is-paused", paused);
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause-word").textContent = paused ? "Resume" : "Pause";
  showState();
  for (const state of charts.values()) settle(state);
  drawSoon();
}

// ── What messages mean ─────────────────────────────────────────────────────────────────────

const meaning = {
  /** The first message: the values of this moment, before any history. */
  welcome({ run: of, n, at, values, viewers, every_ms: everyMs, kept, machine }) {
    sameRun(of, kept);
    live = true;
    line.live();
    showMachine(machine, everyMs);
    showViewers(viewers);
    for (const state of charts.values()) {
      if (n > 0 && wanted(state)) state.points.add(n, at, values[state.name]);
      settle(state);
    }
    drawSoon();
  },

  sample({ chart, run: of, n, at, values }) {
    const state = charts.get(chart);
    if (!state || !wanted(state)) return;
    sameRun(of);
    state.points.add(n, at, values);
    settle(state);
    drawSoon();
  },

  history(message) {
    const state = charts.get(message.chart);
    if (!state) return;
    sameRun(message.run);
    state.joined = state.filled = true;
    state.points.addHistory(message);
    answered(state);
    drawSoon();
  },

  unwatched({ chart }) {
    const state = charts.get(chart);
    if (!state) return;
    state.joined = false;
    answered(state);
  },

  viewers({ count }) { showViewers(count); },
};

/** The gateway's own error frames have no type; the question is asked again when its time is over. */
const receive = (message) => meaning[message.type]?.(message);

/** A backend that was started anew counts from 1 again. */
function sameRun(of, kept) {
  if (of === run) return;
  run = of;
  for (const state of charts.values()) {
    state.filled = false;
    if (kept) state.points = new Points(state.chart.series.length, kept);
    else state.points.clear();
  }
}

// ── What one sees ──────────────────────────────────────────────────────────────────────────

const STATES = { connecting: "Connecting", live: "Live", paused: "Paused", waiting: "Reconnecting", offline: "Offline" };
let lineState = "connecting";

function showState() {
  const state = lineState === "live" && paused ? "paused" : lineState;
  const shown = $("state");
  if (shown.dataset.state === state && shown.textContent === STATES[state]) return;
  shown.dataset.state = state;
  shown.textContent = STATES[state];
  $("retry").hidden = state !== "waiting" && state !== "offline";
  document.body.classList.toggle("is-away", lineState !== "live");
}

function onState(state, seconds) {
  lineState = state;
  $("countdown").textContent = seconds ? `in ${seconds} s` : "";
  if (state !== "live") {
    live = false;
    for (const chart of charts.values()) {
      clearTimeout(chart.asking);
      Object.assign(chart, { joined: false, asking: 0 });
    }
  }
  showState();
}

function showViewers(count) {
  $("viewers").textContent = count;
  $("viewers-word").textContent = count === 1 ? "viewer" : "viewers";
}

function showMachine(machine, everyMs) {
  host = machine.host;
  const cores = machine.cores === 1 ? "1 core" : `${machine.cores} cores`;
  $("machine").textContent = `${host} · ${cores} · ${text(machine.memory, "mebibytes")}`;
  document.title = `${host} · Tidegate dashboard`;
  charts.get("cpu").card.describe(`share of ${cores}`, 100);
  charts.get("memory").card.describe(`of ${text(machine.memory, "mebibytes")}`, machine.memory);
  charts.get("load").card.describe(`tasks that run or wait, on ${cores}`, null);
  rate = `${Math.round(1000 / everyMs)} samples a second`;
}
let rate = "";

let drawing = false;

/** All charts of one tick are drawn together, and not at all where nobody looks. */
function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function draw() {
  const end = Math.max(...[...charts.values()].map(({ points }) => points.last?.at ?? 0)) / 1000;
  if (!(end > 0)) return;
  for (const { on, card, points } of charts.values()) {
    // For whoever looks at the page from outside; the tests do.
    Object.assign(card.element.dataset, { points: points.count, newest: points.newest, missing: points.missing });
    if (on) card.draw(points.columns(), end, span);
  }
  $("when").textContent = `${paused ? "Stopped at" : "As of"} ${clock.format(end * 1000)} · ${rate}`;
}

$("charts").append(...[...charts.values()].map(({ card }) => card.element));
for (const { card, on } of charts.values()) {
  card.attach();
  card.subscribed(on);
}
$("pause").addEventListener("click", pause);
$("retry").addEventListener("click", () => line.tryNow());
document.querySelector(".spans").addEventListener("change", (event) => {
  span = Number(event.target.value);
  drawSoon();
});
span = Number(document.querySelector(".spans input:checked").value); // a reload may keep another one

/** The page's host is the gateway's; the backend knows the port. */
async function address() {
  const { port } = await (await fetch("gateway.json")).json();
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.hostname}:${port}/live`;
}

const line = new Line({ address, onState, onMessage: receive });
