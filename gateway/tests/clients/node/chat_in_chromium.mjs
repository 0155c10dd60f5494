// The chat's page in headless Chromium, as two people would use it.
//
// In:  TIDEGATE_CHAT_URL, the page of a running `tidegate demo`; TIDEGATE_SCREENSHOTS, a folder;
//      TIDEGATE_CHROMIUM, the browser. Out: exit 0 and the screenshots, or what was different; for
//      the page of another backend, how one uses it (`lambda_chat_in_chromium.mjs`).
//
// Holds always: a page that throws, or logs an error, fails its case.

import assert from "node:assert/strict";
import { mkdir, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { DEADLINE_MS, dependency, main } from "./harness.mjs";

const { chromium } = dependency("playwright-core");
const CHAT_URL = process.env.TIDEGATE_CHAT_URL ?? process.env.TIDEGATE_EXAMPLE_URL;
const OPEN = "#state[data-state=open]";
export const WIDE = { width: 1280, height: 800 };
export const NARROW = { width: 390, height: 844 };

/** Runs `use` with a browser, and fails when a page of it had an error. */
export async function inBrowser(use) {
  const browser = await chromium.launch({ executablePath: process.env.TIDEGATE_CHROMIUM, headless: true });
  const errors = [];
  try {
    await use({
      /** A window of its own: nothing is shared with the others but the server. */
      async window(options = {}) {
        const context = await browser.newContext({ viewport: WIDE, ...options });
        context.setDefaultTimeout(DEADLINE_MS);
        context.on("weberror", (error) => errors.push(String(error.error())));
        context.on("console", (message) => {
          if (message.type() === "error") errors.push(message.text());
        });
        return context;
      },
    });
  } finally {
    await browser.close();
  }
  assert.deepEqual(errors, [], "errors in the pages");
}

/** Opens the page in a tab and comes in under a name, through the card. */
export async function come(context, name, room) {
  const page = await context.newPage();
  await page.goto(CHAT_URL);
  await page.fill("#name", name);
  await page.fill("#room", room);
  await page.click("#join");
  await page.waitForSelector(OPEN);
  return page;
}

export async function say(page, text) {
  await page.fill("#message", text);
  await page.click("#send");
}

export const texts = (page, selector) => page.locator(selector).allTextContents();

/** Waits until the elements' texts are these, in this order. */
export async function shows(page, selector, expected) {
  const end = Date.now() + DEADLINE_MS;
  let seen = await texts(page, selector);
  while (JSON.stringify(seen) !== JSON.stringify(expected) && Date.now() < end) {
    await pause(25); // nothing to subscribe to: the page is another process
    seen = await texts(page, selector);
  }
  assert.deepEqual(seen, expected, selector);
}

/** What has been said; what only its writer sees so far does not count, for a reload would lose it. */
export const messages = (page, expected) => shows(page, ".bubble:not(.pending) .text", expected);
export const people = (page, expected) => shows(page, "#people li bdi", expected);

/** Keeps screenshots under names; `shots` fails where one shows nothing. */
export async function camera() {
  const folder = process.env.TIDEGATE_SCREENSHOTS;
  await mkdir(folder, { recursive: true });
  const files = [];
  return {
    async shoot(page, name) {
      const file = path.join(folder, `${name}.png`);
      await page.screenshot({ path: file });
      files.push(file);
    },
    async shots() {
      for (const file of files) assert((await stat(file)).size > 5_000, `${file} shows something`);
    },
  };
}

const cases = {
  async two_people_see_each_other_and_chat() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada", "harbour");
      await people(ada, ["Ada"]);
      const sockets = [];
      const graces = await window();
      graces.on("page", (page) => page.on("websocket", (socket) => sockets.push(socket.url())));
      const grace = await come(graces, "Grace", "harbour");
      await people(ada, ["Ada", "Grace"]);
      await people(grace, ["Grace", "Ada"]);
      assert.equal(sockets.length, 1);
      assert.match(sockets[0], /^ws:\/\/127\.0\.0\.1:\d+\/demo\?key=[0-9a-f]{24}$/);

      await say(ada, "Is the tide in?");
      await messages(grace, ["Is the tide in?"]);
      await say(grace, "High water at noon 🌊");
      await messages(ada, ["Is the tide in?", "High water at noon 🌊"]);
      await messages(grace, ["Is the tide in?", "High water at noon 🌊"]);
      assert.deepEqual(await texts(ada, ".group.own .text"), ["Is the tide in?"]);
      assert.deepEqual(await texts(grace, ".group.own .text"), ["High water at noon 🌊"]);

      await grace.close();
      await people(ada, ["Ada"]);
    });
  },

  /** The issue's own words: two tabs of one browser. The second one knows the name already. */
  async two_tabs_of_one_browser_are_two_people() {
    await inBrowser(async ({ window }) => {
      const browser = await window();
      const first = await come(browser, "Ada", "pier");
      const second = await browser.newPage();
      await second.goto(`${CHAT_URL}/?room=pier`);
      await second.waitForSelector(OPEN);
      await people(first, ["Ada", "Ada"]);
      await say(second, "from the second tab");
      await messages(first, ["from the second tab"]);
      assert.deepEqual(await texts(first, ".group.own .text"), []);
      await say(first, "from the first tab");
      await messages(second, ["from the second tab", "from the first tab"]);
    });
  },

  async a_reload_keeps_the_history_without_doubles() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada", "dock");
      const grace = await come(await window(), "Grace", "dock");
      const said = [];
      for (const [page, text] of [[ada, "one"], [grace, "two"], [ada, "three"], [ada, "three"]]) {
        await say(page, text);
        said.push(text);
        await messages(ada, said);
        await messages(grace, said);
      }
      await grace.reload();
      await grace.waitForSelector(OPEN);
      await messages(grace, said);
      await people(grace, ["Grace", "Ada"]);
      await people(ada, ["Ada", "Grace"]);
      assert.deepEqual(await texts(grace, ".group.own .text"), ["two"]);
      await say(grace, "four");
      await messages(grace, [...said, "four"]);
      await messages(ada, [...said, "four"]);
    });
  },

  async a_room_hears_only_its_own_messages() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada", "north");
      const grace = await come(await window(), "Grace", "south");
      await say(ada, "to the north");
      await messages(ada, ["to the north"]);
      await say(grace, "to the south");
      await messages(grace, ["to the south"]);
      // Both rooms are in the list; a click leads over, and the other room's history is there.
      await grace.click('#rooms button[data-room="north"]');
      await messages(grace, ["to the north"]);
      await people(ada, ["Ada", "Grace"]);
      assert.deepEqual(await texts(ada, ".bubble .text"), ["to the north"]);
    });
  },

  async what_others_write_stays_text() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), '<b id="bold">Ada</b>', "safe");
      const grace = await come(await window(), "Grace", "safe");
      const text = '<img src=x onerror="document.title=\'taken\'"> & https://example.com/a?b=c.';
      await say(ada, text);
      await messages(grace, [text]);
      await people(grace, ["Grace", '<b id="bold">Ada</b>']);
      assert.equal(await grace.locator("#bold, .bubble img").count(), 0);
      assert.equal(await grace.locator(".bubble a").getAttribute("href"), "https://example.com/a?b=c");
    });
  },

  /** For people to look at; what they show is asserted in the other cases. */
  async screenshots_are_kept() {
    const { shoot, shots } = await camera();
    await inBrowser(async ({ window }) => {
      const card = await (await window()).newPage();
      await card.goto(CHAT_URL);
      await card.waitForSelector("#join");
      await shoot(card, "card");

      const ada = await come(await window({ colorScheme: "light" }), "Ada Lovelace", "harbour");
      const grace = await come(await window({ colorScheme: "dark" }), "Grace", "harbour");
      const mary = await come(await window({ colorScheme: "light", viewport: NARROW }), "Mary", "harbour");
      const alan = await come(await window({ colorScheme: "dark", viewport: NARROW }), "Alan", "harbour");
      await people(ada, ["Ada Lovelace", "Alan", "Grace", "Mary"]);
      const talk = [
        [ada, "Good morning! Is the tide in?"],
        [grace, "High water at noon"],
        [grace, "The table is at https://example.com/tides?place=harbour"],
        [mary, "Then we leave at half past eleven, and whoever is late stays on the pier and waves."],
        [alan, "I am on my way"],
        [ada, "See you there"],
      ];
      const said = [];
      for (const [page, text] of talk) {
        await say(page, text);
        said.push(text);
        for (const each of [ada, grace, mary, alan]) await messages(each, said);
      }
      await shoot(ada, "wide-light");
      await shoot(grace, "wide-dark");
      await shoot(mary, "narrow-light");
      await shoot(alan, "narrow-dark");
      await alan.click("#open-side");
      await alan.evaluate(() => Promise.all(document.getAnimations().map((moving) => moving.finished)));
      await shoot(alan, "narrow-dark-side");
    });
    await shots();
  },
};

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(cases);
