// The dashboard's page in headless Chromium, beside viewers that are sockets only.
//
// In:  TIDEGATE_EXAMPLE_URL, the page of the running example; TIDEGATE_SCREENSHOTS, a folder;
//      TIDEGATE_CHROMIUM, the browser. Out: exit 0 and the screenshots, or what was different.
//
// Holds always: a page that throws, or logs an error, fails its case.

import assert from "node:assert/strict";
import { mkdir, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { DEADLINE_MS, connect, dependency, main } from "./harness.mjs";

const { chromium } = dependency("playwright-core");
const PAGE_URL = process.env.TIDEGATE_EXAMPLE_URL;
const LIVE = "#state[data-state=live]";
const CHARTS = ["cpu", "memory", "load", "network", "disk", "gateway"];
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 844 };

/** Runs `use` with a browser, and fails when a page of it had an error. */
async function inBrowser(use) {
  const browser = await chromium.launch({ executablePath: process.env.TIDEGATE_CHROMIUM, headless: true });
  const errors = [];
  try {
    await use(async (options = {}, prepare = async () => {}) => {
      const context = await browser.newContext({ viewport: WIDE, ...options });
      context.setDefaultTimeout(DEADLINE_MS);
      context.on("weberror", (error) => errors.push(String(error.error())));
      context.on("console", (message) => {
        if (message.type() === "error") errors.push(message.text());
      });
      const page = await context.newPage();
      await prepare(page);
      await page.goto(PAGE_URL);
      return page;
    });
  } finally {
    await browser.close();
  }
  assert.deepEqual(errors, [], "errors in the pages");
}

/** Waits until `look` answers something true; that is the result. */
async function until(what, look) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    assert(Date.now() < end, `not within ${DEADLINE_MS} ms: ${what}`);
    await pause(25); // nothing to subscribe to: the page is another process
  }
}

/** What a chart's card says about its points. */
const card = (page, chart) => page.locator(`.card[data-chart=${chart}]`).evaluate(({ dataset }) =>
  ({ points: Number(dataset.points ?? 0), newest: Number(dataset.newest ?? 0), missing: Number(dataset.missing ?? 0) }));

const newest = async (page, chart = "cpu") => (await card(page, chart)).newest;

/** Waits until every chart is drawn up to number `n` at least. */
async function drawnUpTo(page, n, charts = CHARTS) {
  for (const chart of charts) await until(`${chart} up to ${n}`, async () => (await newest(page, chart)) >= n);
}

/** Each text message that the page's sockets get from now on. */
function heard(page) {
  const messages = [];
  page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => messages.push(JSON.parse(payload))));
  return messages;
}

async function gatewayAddress() {
  const { port } = await (await fetch(new URL("/gateway.json", PAGE_URL))).json();
  return `127.0.0.1:${port}/live`;
}

/** A viewer without a page: `next(type)` is its next message of that type. */
async function viewer(...charts) {
  const line = await connect(`ws://${await gatewayAddress()}`);
  const next = async (type) => {
    for (;;) {
      const message = JSON.parse(await line.next());
      if (message.type === type) return message;
    }
  };
  for (const chart of charts) {
    line.send(JSON.stringify({ action: "watch", chart }));
    await next("history");
  }
  return { ...line, next };
}

/** Waits until the backend has counted up to `n`. */
async function ticksUpTo(n) {
  const watching = await viewer("cpu");
  while ((await watching.next("sample")).n < n);
  await watching.close();
}

await main({
  async charts_move_and_the_numbers_with_them() {
    await inBrowser(async (open) => {
      const page = await open();
      await page.waitForSelector(LIVE);
      await drawnUpTo(page, 1);
      const picture = (chart) => page.locator(`.card[data-chart=${chart}] canvas`).evaluate((canvas) => canvas.toDataURL());
      const before = await newest(page);
      const pictures = await Promise.all(CHARTS.map(picture));
      await drawnUpTo(page, before + 8);
      const after = await Promise.all(CHARTS.map(picture));
      CHARTS.forEach((chart, i) => assert.notEqual(after[i], pictures[i], `${chart} has moved`));
      assert.match(await page.textContent(".card[data-chart=cpu] .now"), /^\d+\.\d % busy$/);
      assert.match(await page.textContent(".card[data-chart=memory] .now"), /^[\d.]+ [GM]iB used$/);
      assert.match(await page.textContent("#when"), /^As of .* · 4 samples a second$/);
      for (const chart of CHARTS) assert.equal((await card(page, chart)).missing, 0, chart);
    });
  },

  async a_late_viewer_has_the_history_at_once() {
    await ticksUpTo(24);
    await inBrowser(async (open) => {
      let messages;
      const page = await open({}, async (page) => { messages = heard(page); });
      await page.waitForSelector(LIVE);
      await until("every chart's history", () => messages.filter(({ type }) => type === "history").length === CHARTS.length);
      const [welcome] = messages;
      assert.equal(welcome.type, "welcome", "the current values come first");
      assert.equal(welcome.values.cpu.length, 2);
      assert(welcome.n >= 24, `the greeting has number ${welcome.n}`);
      for (const { chart, from, series } of messages.filter(({ type }) => type === "history")) {
        assert.equal(from, 1, `${chart} from the beginning`);
        assert(series[0].length >= welcome.n, `${chart} up to the greeting`);
      }
      await drawnUpTo(page, welcome.n);
      const { points, newest, missing } = await card(page, "cpu");
      assert.deepEqual({ points, missing }, { points: newest, missing: 0 }, "all that there was is drawn");

      // Those who are there are counted, the late one too.
      const other = await viewer();
      await until("one viewer more", async () => (await page.textContent("#viewers")) === "2");
      await other.close();
      await until("one viewer less", async () => (await page.textContent("#viewers")) === "1");
    });
  },

  async a_viewer_who_was_cut_off_comes_back_without_gaps() {
    await inBrowser(async (open) => {
      let cut = false;
      let refused = 0;
      const open_now = new Set();
      const page = await open({}, (page) => page.routeWebSocket(/\/live$/, (socket) => {
        if (cut) {
          refused += 1;
          void socket.close({ code: 1013 });
          return;
        }
        socket.connectToServer();
        open_now.add(socket);
      }));
      await page.waitForSelector(LIVE);
      await drawnUpTo(page, 4);
      cut = true;
      const last = await newest(page);
      for (const socket of open_now) void socket.close({ code: 1012 });
      // In one look: a wait may be over before the next one.
      await until("a countdown and a way to end it", () => page.evaluate(() => {
        const [state, countdown, retry] = ["state", "countdown", "retry"].map((id) => document.getElementById(id));
        return state.dataset.state === "waiting" && /^in \d+ s$/.test(countdown.textContent) && !retry.hidden;
      }));
      await ticksUpTo(last + 10);
      await until("a second attempt", () => refused >= 2);
      assert((await newest(page)) < last + 4, "nothing came while it was cut off");
      cut = false;
      await page.waitForSelector(LIVE); // by itself
      await drawnUpTo(page, last + 12);
      for (const chart of CHARTS) {
        await until(`${chart} without a hole`, async () => (await card(page, chart)).missing === 0);
        const { points, newest } = await card(page, chart);
        assert.equal(points, newest, `${chart} from the first to the newest`);
      }
      assert.equal(await page.isVisible("#retry"), false);
    });
  },

  /** drop_oldest: whoever does not read loses samples; nobody waits, and the newest one still comes. */
  async a_slow_viewer_holds_nobody_up_and_gets_the_newest_value() {
    await inBrowser(async (open) => {
      let messages;
      const page = await open({}, async (page) => { messages = heard(page); });
      await page.waitForSelector(LIVE);
      const slow = await viewer("cpu");
      // An error frame is where a client learns its own id.
      slow.send('{"action":"nobody takes this"}');
      const { connectionId: id } = await slow.next(undefined);
      slow.socket.pause();

      const address = await gatewayAddress();
      const post = (data) => fetch(`http://${address}/@connections/${encodeURIComponent(id)}`, { method: "POST", body: data });
      const filler = JSON.stringify({ type: "filler", text: "x".repeat(8_000) });
      const droppedNow = () => messages.findLast(({ chart, type }) => type === "sample" && chart === "gateway")?.values?.[1] > 0;
      // Into the kernel's buffers first, which are megabytes, then into the queue until it overflows.
      await until("the gateway says that messages are dropped", async () => {
        const answers = await Promise.all(Array.from({ length: 64 }, () => post(filler)));
        for (const answer of answers) assert.equal(answer.status, 200, await answer.text());
        return droppedNow();
      });
      const dropping = await newest(page);
      // Now the queue is full of fillers: these samples find no room, and make it.
      await drawnUpTo(page, dropping + 8, ["cpu"]);
      await Promise.all(Array.from({ length: 8 }, () => post(filler)));
      await drawnUpTo(page, dropping + 16, ["cpu"]);

      const seen = messages.filter(({ type, chart, n }) => type === "sample" && chart === "cpu" && n > dropping).map(({ n }) => n);
      assert(seen.length >= 16);
      seen.forEach((n, i) => assert.equal(n, dropping + 1 + i, "the page has missed nothing"));
      assert.equal((await card(page, "cpu")).missing, 0);

      // It reads again: the newest sample is there, and what it lost can be fetched.
      const before = await newest(page);
      slow.socket.resume();
      const got = [];
      let run;
      while ((got.at(-1) ?? 0) < before) {
        const sample = await slow.next("sample");
        got.push(sample.n);
        run = sample.run;
      }
      const gap = got.findIndex((n, i) => i > 0 && n > got[i - 1] + 1);
      assert(gap > 0, `samples gave way: ${got.join(" ")}`);
      assert.deepEqual(got.slice(gap), got.slice(gap).map((_, i) => got[gap] + i), "one gap, and the newest in order");
      slow.send(JSON.stringify({ action: "watch", chart: "cpu", run, since: got[gap - 1] }));
      const { from, series } = await slow.next("history");
      assert.equal(from, got[gap - 1] + 1);
      assert(series[0].length >= got[gap] - from, "the gap is filled");
      await slow.close();
    });
  },

  async an_unsubscribed_chart_is_not_sent() {
    await inBrowser(async (open) => {
      let messages;
      const page = await open({}, async (page) => { messages = heard(page); });
      await page.waitForSelector(LIVE);
      await drawnUpTo(page, 4);
      const cpu = page.getByRole("switch", { name: "CPU: subscribe" });
      await cpu.focus();
      await page.keyboard.press("Space");
      assert.equal(await cpu.isChecked(), false);
      await page.getByText("Not subscribed").first().waitFor();
      await until("the gateway's answer", () => messages.some(({ type, chart }) => type === "unwatched" && chart === "cpu"));
      const left = messages.findIndex(({ type }) => type === "unwatched");
      const at = await newest(page, "memory");
      await drawnUpTo(page, at + 8, ["memory"]);
      const after = messages.slice(left + 1).filter(({ type }) => type === "sample").map(({ chart }) => chart);
      assert(!after.includes("cpu"), "no sample of cpu after it was left");
      assert.deepEqual(new Set(after), new Set(CHARTS.filter((chart) => chart !== "cpu")));
      assert(page.url().endsWith("?charts=memory,load,network,disk,gateway"), page.url());

      // Back again: what was not sent meanwhile is fetched.
      await page.keyboard.press("Space");
      await drawnUpTo(page, at + 10, ["cpu"]);
      await until("cpu without a hole", async () => (await card(page, "cpu")).missing === 0);

      // Pause leaves every group; the beat goes on.
      await page.getByRole("button", { name: "Pause" }).click();
      await page.waitForSelector("#state[data-state=paused]");
      await until("all groups left", () => messages.filter(({ type }) => type === "unwatched").length === 1 + CHARTS.length);
      const paused = messages.length;
      const still = await newest(page);
      await until("two beats", () => messages.slice(paused).filter(({ type }) => type === "viewers").length >= 2);
      assert.deepEqual(messages.slice(paused).filter(({ type }) => type !== "viewers"), [], "only beats come");
      assert.equal(await newest(page), still);
      await page.getByRole("button", { name: "Resume" }).click();
      await page.waitForSelector(LIVE);
      await drawnUpTo(page, still + 8);
      for (const chart of CHARTS) await until(`${chart} without a hole`, async () => (await card(page, chart)).missing === 0);
    });
  },

  /** A moment of the past is read from the plot with the keys alone, in words. */
  async the_keyboard_reads_the_past() {
    await ticksUpTo(16);
    await inBrowser(async (open) => {
      const page = await open();
      await page.waitForSelector(LIVE);
      await drawnUpTo(page, 16);
      const plot = page.getByRole("slider", { name: "CPU, a moment" });
      await plot.focus();
      for (let i = 0; i < 3; i += 1) await page.keyboard.press("ArrowLeft");
      await until("a moment in words", async () =>
        /^\d\d:\d\d:\d\d: busy [\d.]+ %, of that, system [\d.]+ %$/.test(await plot.getAttribute("aria-valuetext")));
      assert(Number(await plot.getAttribute("aria-valuenow")) <= -2);
      await page.keyboard.press("Escape");
      await page.keyboard.press("Tab");
      await until("the newest again", async () => (await plot.getAttribute("aria-valuetext")).startsWith("now: "));
    });
  },

  /** For people to look at; what they show is asserted in the other cases. */
  async screenshots_are_kept() {
    const folder = process.env.TIDEGATE_SCREENSHOTS;
    await mkdir(folder, { recursive: true });
    await ticksUpTo(40);
    const shots = [];
    await inBrowser(async (open) => {
      const pages = [];
      for (const [size, viewport] of [["wide", WIDE], ["narrow", NARROW]]) {
        for (const colorScheme of ["light", "dark"]) pages.push([`dashboard-${size}-${colorScheme}`, await open({ viewport, colorScheme })]);
      }
      for (const [, page] of pages) await page.waitForSelector(LIVE);
      const at = await newest(pages[0][1]);
      for (const [, page] of pages) {
        await page.getByRole("radio", { name: "30 s" }).check();
        await drawnUpTo(page, at + 40);
        await until("all viewers", async () => (await page.textContent("#viewers")) === "4");
      }
      for (const [name, page] of pages) {
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert(overflow <= 0, `${name} is ${overflow} px too wide`);
        shots.push(path.join(folder, `${name}.png`));
        await page.screenshot({ path: shots.at(-1) });
      }
    });
    for (const file of shots) assert((await stat(file)).size > 5_000, `${file} shows something`);
  },
});
