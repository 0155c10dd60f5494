// The page of examples/notify in headless Chromium, as its customers and its warehouse use it.
//
// In:  TIDEGATE_EXAMPLE_URL, the page of the running example, with a database of its own;
//      TIDEGATE_SCREENSHOTS, a folder; TIDEGATE_CHROMIUM, the browser.
// Out: exit 0 and the screenshots, or what was different.
//
// Holds always: a page that throws, or logs an error that its case does not count on, fails its case.

import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { mkdir, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { DEADLINE_MS, dependency, main } from "./harness.mjs";

const { chromium } = dependency("playwright-core");
const PAGE_URL = process.env.TIDEGATE_EXAMPLE_URL?.replace(/\/$/, "");
const OPEN = "#state[data-state=open]";
const PASSWORD = "lighthouse";
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };
/** What Chromium itself logs of an answer over 400 and of an upgrade that is refused. */
const REFUSED_ANSWER = /status of 401/;
const REFUSED_UPGRADE = /WebSocket connection to .* failed/;
/** The gateway's `leeway_s`, and a second for the tokens' whole seconds. */
const LEEWAY_MS = 2_000;

/** Runs `use` with a browser, and fails when a page of it had an error that is not `expected`. */
async function inBrowser(use, expected = []) {
  const browser = await chromium.launch({ executablePath: process.env.TIDEGATE_CHROMIUM, headless: true });
  const errors = [];
  try {
    await use({
      /** A browser of its own: nothing is shared with the others but the server. */
      async window(options = {}) {
        const context = await browser.newContext({ viewport: WIDE, ...options });
        context.setDefaultTimeout(DEADLINE_MS);
        context.on("weberror", (error) => errors.push(String(error.error())));
        context.on("console", (message) => {
          const text = message.text();
          if (message.type() === "error" && !expected.some((each) => each.test(text))) errors.push(text);
        });
        return context;
      },
    });
  } finally {
    await browser.close();
  }
  assert.deepEqual(errors, [], "errors in the pages");
}

/** Signs in through the card, in a new tab that is then live. */
async function signIn(context, name) {
  const page = await context.newPage();
  await page.goto(PAGE_URL);
  await page.click(`#demo [data-name=${name}]`);
  await page.fill("#password", PASSWORD);
  await page.click("#sign-in-form button");
  await page.waitForSelector(OPEN);
  return page;
}

/** Another tab of somebody who is signed in. */
async function anotherTab(context, name) {
  const page = await context.newPage();
  await page.goto(`${PAGE_URL}/?user=${name}`);
  await page.waitForSelector(OPEN);
  return page;
}

/** Places an order through the form; its number, once it is in the list. */
async function place(page, item = "lantern", quantity = 1) {
  const before = await ordersOf(page);
  await page.check(`#items input[value=${item}]`);
  await page.fill("#quantity", String(quantity));
  await page.click("#place");
  await becomes("the new order's card", async () => (await ordersOf(page)).length, before.length + 1);
  const [id] = (await ordersOf(page)).filter((order) => !before.includes(order));
  return id;
}

const ordersOf = (page) => page.locator("#orders .order").evaluateAll((cards) => cards.map((card) => card.dataset.order));

async function move(warehouse, order, state) {
  await warehouse.click(`#todo [data-order="${order}"] [data-to=${state}]`);
  await warehouse.waitForSelector(`[data-order="${order}"][data-state=${state}]`, { state: "attached" });
}

const texts = (page, selector) => page.locator(selector).allTextContents();
const updates = (page) => texts(page, "#updates .says");
const stateOf = (page, order) => page.locator(`[data-order="${order}"]`).getAttribute("data-state");
/** How the order's newest update fared, as its card in the warehouse says. */
const fared = (warehouse, order) => warehouse.locator(`[data-order="${order}"] .delivery`).textContent();

/** Waits until `read` gives this; there is nothing to subscribe to, the page is another process. */
async function becomes(what, read, expected) {
  const end = Date.now() + DEADLINE_MS;
  let seen = await read();
  while (JSON.stringify(seen) !== JSON.stringify(expected) && Date.now() < end) {
    await pause(25);
    seen = await read();
  }
  assert.deepEqual(seen, expected, what);
}

async function gatewayPort() {
  return (await (await fetch(`${PAGE_URL}/gateway.json`)).json()).port;
}

/** Waits until the gateway has so many connections: a tab that was closed is gone a moment later. */
async function connectionsAre(count) {
  const port = await gatewayPort();
  await becomes("the gateway's connections", async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/live/@connections`);
    return (await answer.json()).connectionIds.length;
  }, count);
}

/** The REST api, as a program would use it. */
async function post(route, body, headers = {}) {
  return fetch(`${PAGE_URL}${route}`, {
    method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body),
  });
}

/** An access token of a customer, of a life of one's own. */
async function tokenOf(name, lifetime) {
  const session = await post("/api/session", { name, password: PASSWORD });
  assert.equal(session.status, 200);
  const cookie = session.headers.get("set-cookie").split(";")[0];
  const answer = await post("/api/token", { user: name, lifetime_s: lifetime }, { Cookie: cookie });
  return (await answer.json()).token;
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const parsed = (text) => JSON.parse(Buffer.from(text, "base64url"));

/** How a WebSocket with this token ends up: `open`, or the code that it closes with. */
async function upgrade(page, token) {
  return page.evaluate(
    ([url, protocols]) => new Promise((seen) => {
      const socket = new WebSocket(url, protocols);
      socket.onopen = () => { seen("open"); socket.close(); };
      socket.onclose = ({ code }) => seen(code);
    }),
    [`ws://127.0.0.1:${await gatewayPort()}/live`, ["notify", `bearer.${token}`]],
  );
}

await main({
  async an_update_reaches_every_tab_of_its_user_and_nobody_else() {
    await inBrowser(async ({ window }) => {
      const home = await window();
      const first = await signIn(home, "ada");
      const second = await anotherTab(home, "ada");
      const elsewhere = await signIn(await window(), "ada");
      const grace = await signIn(await window(), "grace");
      const warehouse = await signIn(await window(), "wren");

      const order = await place(first, "oar", 2);
      for (const tab of [first, second, elsewhere]) {
        await becomes("told that it is placed", () => updates(tab), [`Order ${order} was placed`]);
      }
      await warehouse.waitForSelector(`#todo [data-order="${order}"]`);
      await move(warehouse, order, "packed");
      await move(warehouse, order, "shipped");
      const told = [`Order ${order} is on its way`, `Order ${order} is packed`, `Order ${order} was placed`];
      for (const tab of [first, second, elsewhere]) {
        await becomes("told of each step", () => updates(tab), told);
        await becomes("the card's state", () => stateOf(tab, order), "shipped");
      }
      // Pushes go out in their order: had any of Ada's come to Grace, it would stand below her own.
      const own = await place(grace, "bell");
      await becomes("Grace's updates", () => updates(grace), [`Order ${own} was placed`]);
      assert.deepEqual(await ordersOf(grace), [own]);
      assert.deepEqual(await updates(first), told);
    });
  },

  async receipts_count_the_tabs() {
    await inBrowser(async ({ window }) => {
      const warehouse = await signIn(await window(), "wren");
      const home = await window();
      const first = await signIn(home, "ada");
      const second = await anotherTab(home, "ada");
      await signIn(await window(), "ada");
      const order = await place(first, "rope");
      await becomes("three tabs", () => fared(warehouse, order), "sent to 3 connections, received by 3 tabs");
      assert.equal(await warehouse.locator("#deliveries li").first().locator(".tab.has").count(), 3);

      await second.close();
      await connectionsAre(3);
      await move(warehouse, order, "packed");
      await becomes("two tabs", () => fared(warehouse, order), "sent to 2 connections, received by 2 tabs");
      // The older delivery is as it was, and a reload of the warehouse shows the same.
      const deliveries = () => texts(warehouse, "#deliveries .delivery");
      const both = ["sent to 2 connections, received by 2 tabs", "sent to 3 connections, received by 3 tabs"];
      await becomes("the list of deliveries", deliveries, both);
      await warehouse.reload();
      await becomes("the list of deliveries, read anew", deliveries, both);
    });
  },

  async who_was_offline_sees_what_was_missed() {
    await inBrowser(async ({ window }) => {
      const warehouse = await signIn(await window(), "wren");
      const home = await window();
      const ada = await signIn(home, "ada");
      const order = await place(ada, "kettle");
      await becomes("received", () => fared(warehouse, order), "sent to 1 connection, received by 1 tab");
      await ada.close();
      await connectionsAre(1);
      await move(warehouse, order, "packed");
      await becomes("nobody there", () => fared(warehouse, order), "not online; will see it at the next sign-in");
      await move(warehouse, order, "shipped");
      await becomes("two for later", () => texts(warehouse, "#deliveries .delivery"), [
        "not online; will see it at the next sign-in",
        "not online; will see it at the next sign-in",
        "sent to 1 connection, received by 1 tab",
      ]);

      const back = await anotherTab(home, "ada");
      const missed = [`Order ${order} is packed`, `Order ${order} is on its way`];
      await becomes("while away", () => texts(back, "#away-list .says"), missed);
      assert.equal(await stateOf(back, order), "shipped");
      await becomes("received since", () => fared(warehouse, order), "was not online; received by 1 tab since");
      // What one tab has had, is not news to the next one.
      const next = await anotherTab(home, "ada");
      await move(warehouse, order, "delivered");
      await becomes("what follows", () => updates(next), [`Order ${order} was delivered`]);
      assert.equal(await next.isVisible("#away"), false);
    });
  },

  async a_wrong_password_and_a_forged_or_expired_token_are_refused() {
    await inBrowser(async ({ window }) => {
      const page = await (await window()).newPage();
      await page.goto(PAGE_URL);
      for (const name of ["ada", "nobody"]) {
        await page.fill("#name", name);
        await page.fill("#password", "lighthous");
        await page.click("#sign-in-form button");
        await page.waitForSelector("#sign-in-error:not(:empty)");
        assert.equal(await page.textContent("#sign-in-error"), "Name or password is wrong.");
        assert.equal(await page.isVisible("#customer"), false);
        assert.deepEqual(await (await page.request.get(`${PAGE_URL}/api/sessions`)).json(), { users: [] });
      }

      const good = await tokenOf("ada");
      const [head, claims, signature] = good.split(".");
      assert.equal(await upgrade(page, good), "open");
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const by = (key, text) => `${text}.${sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
      const others = createPrivateKey(privateKey.export({ type: "pkcs8", format: "pem" }));
      const forged = {
        "another user's name": `${head}.${part({ ...parsed(claims), sub: "grace" })}.${signature}`,
        "another key": by(others, `${head}.${claims}`),
        "no signature": `${part({ alg: "none", typ: "JWT" })}.${claims}.`,
        "nonsense": "nonsense",
      };
      for (const [what, token] of Object.entries(forged)) {
        assert.equal(await upgrade(page, token), 1006, what);
        const answer = await fetch(`${PAGE_URL}/api/orders`, { headers: { Authorization: `Bearer ${token}` } });
        assert.equal(answer.status, 401, what);
      }

      const short = await tokenOf("ada", 1);
      await pause(parsed(short.split(".")[1]).exp * 1000 + LEEWAY_MS - Date.now()); // its end is a moment, no event
      assert.equal(await upgrade(page, short), 1006, "expired");
      const answer = await fetch(`${PAGE_URL}/api/orders`, { headers: { Authorization: `Bearer ${short}` } });
      assert.equal(answer.status, 401, "expired");
    }, [REFUSED_ANSWER, REFUSED_UPGRADE]);
  },

  /** The renewal is held up, so that an update surely comes while the tab has no connection. */
  async an_expired_token_is_renewed_without_losing_an_update() {
    await inBrowser(async ({ window }) => {
      const warehouse = await signIn(await window(), "wren");
      const home = await window();
      let held = null;
      await home.route("**/api/token", async (route) => {
        await held;
        const body = { ...route.request().postDataJSON(), lifetime_s: 4 };
        await route.continue({ postData: JSON.stringify(body) });
      });
      const sockets = [];
      home.on("page", (page) => page.on("websocket", (socket) => sockets.push(socket)));
      const ada = await signIn(home, "ada");
      const order = await place(ada, "chart");
      await becomes("received", () => fared(warehouse, order), "sent to 1 connection, received by 1 tab");

      let letGo;
      held = new Promise((resolve) => { letGo = resolve; });
      await connectionsAre(1); // the token has expired, and the gateway has closed the tab's socket
      assert.equal(await ada.getAttribute("#state", "data-state"), "connecting");
      await move(warehouse, order, "packed");
      await becomes("in between", () => fared(warehouse, order), "not online; will see it at the next sign-in");
      held = null;
      letGo();
      const told = [`Order ${order} is packed`, `Order ${order} was placed`];
      await becomes("nothing is lost", () => updates(ada), told);
      await becomes("and it is known", () => fared(warehouse, order), "was not online; received by 1 tab since");

      // Over more renewals, with nothing held up, each update comes once.
      const before = sockets.length;
      await move(warehouse, order, "shipped");
      await becomes("renewed again", () => sockets.length > before, true);
      await ada.waitForSelector(OPEN);
      await move(warehouse, order, "delivered");
      await becomes("each once", () => updates(ada), [
        `Order ${order} was delivered`, `Order ${order} is on its way`, ...told,
      ]);
    });
  },

  /** For people to look at; what they show is asserted in the other cases. */
  async screenshots_are_kept() {
    const folder = process.env.TIDEGATE_SCREENSHOTS;
    await mkdir(folder, { recursive: true });
    const shots = [];
    const shoot = async (page, name) => {
      const file = path.join(folder, `notify-${name}.png`);
      await page.evaluate(() => Promise.all(document.getAnimations().map((moving) => moving.finished)));
      await page.screenshot({ path: file });
      shots.push(file);
    };
    const looks = [
      ["wide-light", WIDE, "light"], ["wide-dark", WIDE, "dark"],
      ["narrow-light", NARROW, "light"], ["narrow-dark", NARROW, "dark"],
    ];
    await inBrowser(async ({ window }) => {
      for (const [look, viewport, colorScheme] of looks) {
        const card = await (await window({ viewport, colorScheme })).newPage();
        await card.goto(PAGE_URL);
        await card.waitForSelector("#sign-in");
        await shoot(card, `sign-in-${look}`);
        await card.close();
      }

      const warehouse = await signIn(await window({ colorScheme: "light" }), "wren");
      const home = await window();
      const first = await signIn(home, "ada");
      await anotherTab(home, "ada");
      const grace = await signIn(await window(), "grace");
      const step = async (order, ...states) => {
        for (const state of states) await move(warehouse, order, state);
      };
      await step(await place(first, "kettle"), "packed", "shipped", "delivered");
      const hers = await place(grace, "rope", 2);
      await step(hers, "packed");
      await step(await place(first, "chart"), "packed", "shipped");
      await step(await place(first, "bell"), "cancelled");
      const last = await place(first, "oar", 2);
      await grace.close();
      const newest = await place(first, "lantern");
      await connectionsAre(3);
      await step(hers, "shipped");
      await step(last, "packed");
      await becomes("all are told", () => fared(warehouse, last), "sent to 2 connections, received by 2 tabs");
      await becomes("all are told", () => fared(warehouse, newest), "sent to 2 connections, received by 2 tabs");
      await shoot(warehouse, "warehouse-wide-light");
      await shoot(first, "customer-wide-light");
      const deliveries = await warehouse.locator("#deliveries li").count();
      for (const [look, viewport, colorScheme] of looks.slice(1)) {
        const seen = await signIn(await window({ viewport, colorScheme }), "wren");
        await becomes("the deliveries", () => seen.locator("#deliveries li").count(), deliveries);
        await shoot(seen, `warehouse-${look}`);
      }

      // Ada goes away, and comes back to what has happened meanwhile.
      await home.close();
      const whileAway = { "wide-dark": [last, "shipped"], "narrow-light": [last, "delivered"], "narrow-dark": [newest, "packed"] };
      for (const [look, viewport, colorScheme] of looks.slice(1)) {
        await connectionsAre(4); // the warehouse's four
        const [order, state] = whileAway[look];
        await step(order, state);
        await becomes("nobody is there", () => fared(warehouse, order), "not online; will see it at the next sign-in");
        const context = await window({ viewport, colorScheme });
        const seen = await signIn(context, "ada");
        await seen.waitForSelector("#away:not([hidden])");
        await shoot(seen, `customer-${look}`);
        await context.close();
      }
    });
    for (const file of shots) assert((await stat(file)).size > 5_000, `${file} shows something`);
  },
});
