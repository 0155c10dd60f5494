// A page in headless Chromium that says who it is by a token among its subprotocols.
//
// In:  TIDEGATE_WS_URL, a stage that lets tokens in; TIDEGATE_TOKEN, a good one; TIDEGATE_CHROMIUM,
//      the browser. Out: exit 0, or what was different.

import assert from "node:assert/strict";

import { DEADLINE_MS, WS_URL, dependency, main } from "./harness.mjs";

const { chromium } = dependency("playwright-core");
const TOKEN = process.env.TIDEGATE_TOKEN;

/** What a page sees of a WebSocket with these offers: its subprotocol and an echo, or how it ended. */
async function socketInAPage(protocols) {
  const browser = await chromium.launch({ executablePath: process.env.TIDEGATE_CHROMIUM, headless: true });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    return await page.evaluate(
      ([url, protocols]) =>
        new Promise((seen) => {
          const socket = new WebSocket(url, protocols);
          socket.onopen = () => socket.send("hello");
          socket.onmessage = ({ data }) => seen({ protocol: socket.protocol, echo: data });
          socket.onclose = ({ code }) => seen({ code });
        }),
      [WS_URL, protocols],
    );
  } finally {
    await browser.close();
  }
}

await main({
  async a_page_connects_with_a_token_beside_its_subprotocol() {
    const seen = await socketInAPage(["chat", `bearer.${TOKEN}`]);
    assert.deepEqual(seen, { protocol: "chat", echo: "hello" });
  },

  async a_page_with_a_bad_token_does_not_connect() {
    const seen = await socketInAPage(["chat", `bearer.${TOKEN.slice(0, -8)}AAAAAAAA`]);
    assert.deepEqual(seen, { code: 1006 });
  },

  async a_page_that_offers_nothing_but_its_token_does_not_connect() {
    const seen = await socketInAPage([`bearer.${TOKEN}`]);
    assert.deepEqual(seen, { code: 1006 });
  },
});
