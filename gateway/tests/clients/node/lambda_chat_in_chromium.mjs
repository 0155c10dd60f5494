// The chat's page over Lambda functions, in headless Chromium, as people would use it.
//
// In:  TIDEGATE_EXAMPLE_URL, the page of the running example; TIDEGATE_SCREENSHOTS, a folder;
//      TIDEGATE_CHROMIUM, the browser. Out: exit 0 and the screenshots, or what was different.
//
// Holds always: a page that throws, or logs an error, fails its case.

import assert from "node:assert/strict";

import { NARROW, WIDE, camera, come, inBrowser, messages, people, say, shows, texts } from "./chat_in_chromium.mjs";
import { main } from "./harness.mjs";

const OPEN = "#state[data-state=open]";

await main({
  async two_people_chat_and_who_leaves_is_seen_to_leave() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada", "harbour");
      const grace = await come(await window(), "Grace", "harbour");
      await people(ada, ["Ada", "Grace"]);
      await people(grace, ["Grace", "Ada"]);
      await say(ada, "Is the tide in?");
      await messages(grace, ["Is the tide in?"]);
      await say(grace, "High water at noon 🌊");
      for (const page of [ada, grace]) await messages(page, ["Is the tide in?", "High water at noon 🌊"]);
      assert.deepEqual(await texts(ada, ".group.own .text"), ["Is the tide in?"]);

      await grace.close();
      await people(ada, ["Ada"]);
      await shows(ada, ".notice", ["Grace joined", "Grace left"]);
    });
  },

  async typing_is_seen_by_the_others() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada", "quay");
      const grace = await come(await window(), "Grace", "quay");
      await people(ada, ["Ada", "Grace"]);
      await grace.type("#message", "I am th");
      await shows(ada, "#typing", ["Grace is writing…"]);
      assert.deepEqual(await texts(grace, "#typing"), [""]);
    });
  },

  async the_table_keeps_the_history_for_whoever_comes_back_or_comes_late() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada", "dock");
      const said = ["one", "two", "two"];
      for (let n = 1; n <= said.length; n += 1) {
        await say(ada, said[n - 1]);
        await messages(ada, said.slice(0, n));
      }
      await ada.reload();
      await ada.waitForSelector(OPEN);
      await messages(ada, said);
      assert.deepEqual(await texts(ada, ".group.own .text"), said, "the same person as before");
      const grace = await come(await window(), "Grace", "dock");
      await messages(grace, said);
    });
  },

  async who_goes_to_another_room_leaves_the_first_and_hears_only_the_second() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada", "north");
      const grace = await come(await window(), "Grace", "north");
      await people(ada, ["Ada", "Grace"]);
      await grace.fill("#new-room", "South Pier");
      await grace.press("#new-room", "Enter");
      await shows(grace, "#room-title", ["south-pier"]);
      await people(ada, ["Ada"]);
      await say(ada, "to the north");
      await messages(ada, ["to the north"]);
      await say(grace, "to the south");
      await messages(grace, ["to the south"]);
    });
  },

  /** For people to look at; what they show is asserted in the other cases. */
  async screenshots_are_kept() {
    const { shoot, shots } = await camera();
    await inBrowser(async ({ window }) => {
      const looks = [
        ["Ada Lovelace", "light", WIDE], ["Grace", "dark", WIDE], ["Mary", "light", NARROW], ["Alan", "dark", NARROW],
      ];
      const pages = [];
      for (const [name, colorScheme, viewport] of looks) {
        pages.push(await come(await window({ colorScheme, viewport }), name, "functions"));
      }
      const [ada, grace, mary, alan] = pages;
      await people(ada, ["Ada Lovelace", "Alan", "Grace", "Mary"]);
      const talk = [
        [ada, "Who answers here?"],
        [grace, "Who is here, a function in Python knows"],
        [mary, "And what is said, one in Node keeps. Both were written for AWS Lambda, and both run on this machine."],
        [alan, "Where is the table?"],
        [grace, "In a file. On AWS it is DynamoDB: https://docs.aws.amazon.com/dynamodb/"],
      ];
      const said = [];
      for (const [page, text] of talk) {
        await say(page, text);
        said.push(text);
        for (const each of pages) await messages(each, said);
      }
      for (const [n, name] of ["wide-light", "wide-dark", "narrow-light", "narrow-dark"].entries()) {
        await shoot(pages[n], `lambda-chat-${name}`);
      }
    });
    await shots();
  },
});
