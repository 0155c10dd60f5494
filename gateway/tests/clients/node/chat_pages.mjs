// Pages of the chat in headless Chromium, which do as they are told: for a test that has more to do
// meanwhile than to look at pages.
//
// In:  TIDEGATE_CHAT_URL, TIDEGATE_SCREENSHOTS and TIDEGATE_CHROMIUM as in chat_in_chromium.mjs; orders
//      as JSON, one a line: {"do": one of those below, "page": a person's name, …}.
// Out: for each order, once it is carried out, a line: what it gives, as JSON. An order that cannot be
//      carried out ends the program with what was different.
//
// Holds always: a page that throws, or logs an error, fails the program at its end.

import { createInterface } from "node:readline";

import { camera, come, inBrowser, messages, people, say, shows, texts } from "./chat_in_chromium.mjs";

const pages = new Map();
const { shoot, shots } = await camera();

/** Notes from now on how the page says that it is connected. */
const noteStates = () => {
  const state = document.getElementById("state");
  window.states = [state.dataset.state];
  const note = () => window.states.push(state.dataset.state);
  new MutationObserver(note).observe(state, { attributeFilter: ["data-state"] });
};

const orders = {
  async come({ page, room, options }, window) {
    pages.set(page, await come(await window(options), page, room));
    await pages.get(page).evaluate(noteStates);
  },
  say: ({ page, text }) => say(pages.get(page), text),
  messages: ({ page, texts: expected }) => messages(pages.get(page), expected),
  people: ({ page, names }) => people(pages.get(page), names),
  shows: ({ page, selector, texts: expected }) => shows(pages.get(page), selector, expected),
  texts: ({ page, selector }) => texts(pages.get(page), selector),
  states: ({ page }) => pages.get(page).evaluate(() => window.states),
  shoot: ({ page, file }) => shoot(pages.get(page), file),
};

await inBrowser(async ({ window }) => {
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    console.log(JSON.stringify((await orders[order.do](order, window)) ?? null));
  }
});
await shots();
