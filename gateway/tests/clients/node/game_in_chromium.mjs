// The game example: its page in headless Chromium, as players would use it, and what it says to
// clients of its protocol that ask for something they should not get.
//
// In:  TIDEGATE_EXAMPLE_URL, the page of the running example; TIDEGATE_SCREENSHOTS, a folder;
//      TIDEGATE_CHROMIUM, the browser. Out: exit 0 and the screenshots, or what was different.
//
// Holds always: a page that throws, or logs an error, fails its case.

import assert from "node:assert/strict";
import { mkdir, stat } from "node:fs/promises";
import path from "node:path";

import { DEADLINE_MS, connect, dependency, main, within } from "./harness.mjs";

const { chromium } = dependency("playwright-core");
const PAGE_URL = process.env.TIDEGATE_EXAMPLE_URL;
const OPEN = "#state[data-state=open]";
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 844 };
/** Longer than any match here: a board of 36 cells, in which nearly each move fills one. */
const MOST_MOVES = 120;

/** Runs `use` with a browser, and fails when a page of it had an error. */
async function inBrowser(use) {
  const browser = await chromium.launch({
    executablePath: process.env.TIDEGATE_CHROMIUM,
    headless: true,
    // Peers name themselves by address; the random .local names need multicast, which may be missing.
    args: ["--disable-features=WebRtcHideLocalIpsWithMdns", "--allow-loopback-in-peer-connection"],
  });
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

/** Opens the lobby under a name. */
async function come(context, name) {
  const page = await context.newPage();
  await page.goto(PAGE_URL);
  await page.waitForSelector(OPEN);
  await page.waitForSelector("#lobby:not([hidden])");
  await page.fill("#name", name);
  return page;
}

/** Opens a match of so many seats; its id. */
async function openMatch(page, size) {
  await page.locator(`input[name=size][value="${size}"]`).check({ force: true });
  await page.click("#open");
  await page.waitForSelector("#match:not([hidden])");
  return new URL(page.url()).searchParams.get("match");
}

/** Sits down in a match that the lobby lists. */
async function sitDown(page, match) {
  await page.locator("#name").blur(); // a name counts when its field is left
  await page.click(`#matches [data-match="${match}"] button`);
  await page.waitForSelector("#match:not([hidden])");
}

/** Comes by the invite link. */
async function follow(context, match, name) {
  const page = await context.newPage();
  await page.goto(`${PAGE_URL}/?match=${match}`);
  await page.fill("#invited-name", name);
  await page.click("#invited-sit");
  await page.waitForSelector("#match:not([hidden])");
  return page;
}

const begun = (page) => page.waitForSelector("#status[data-phase=playing]");
const names = (page) => page.locator("#players .player-name bdi").allTextContents();
const cells = (page) => page.locator("#board [data-cell]").evaluateAll((all) => all.map((cell) => cell.getAttribute("data-owner") ?? "-1"));
const counts = (page) => page.locator("#players .cells").allTextContents();
const turnOf = (page) => page.locator("#players [data-turn=true] bdi").textContent();

/** Waits until `read` of the page gives what is expected; the page is another process. */
async function becomes(what, read, expected) {
  const end = Date.now() + DEADLINE_MS;
  let seen = await read();
  while (JSON.stringify(seen) !== JSON.stringify(expected) && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 25));
    seen = await read();
  }
  assert.deepEqual(seen, expected, what);
}

/** Waits until it is this player's turn. */
const turnComes = (page) => page.waitForSelector("#status[data-mine=true]");

/** Grows into the first marked cell, or leaps with the first piece that can. */
async function moveOnce(page) {
  const grow = page.locator("#board [data-move=grow]").first();
  if (await grow.count()) return grow.click();
  for (const piece of await page.locator("#board .may[data-owner]:not([data-owner='-1'])").all()) {
    await piece.click();
    const leap = page.locator("#board [data-move]").first();
    if (await leap.count()) return leap.click();
    await piece.click();
  }
  // On a machine so slow that the clock has run out meanwhile, it is another's turn.
  assert.equal(await page.locator("#status[data-mine=true]").count(), 0, "whose turn it is has a move");
}

/** Lets whoever has the turn move, so many times or until it is over. */
async function play(pages, moves = MOST_MOVES) {
  for (let n = 0; n < moves; n++) {
    let next;
    await becomes("somebody's turn, or the end", async () => {
      for (const page of pages) if (await page.locator("#status[data-mine=true], #status[data-phase=over]").count()) next = page;
      return next !== undefined;
    }, true);
    if (await next.locator("#status[data-phase=over]").count()) return n;
    const was = await next.getAttribute("#board", "data-turns");
    await moveOnce(next);
    // The move is there once everybody has it.
    for (const page of pages) await page.waitForSelector(`#board:not([data-turns="${was}"])`);
  }
  return moves;
}

/** In the page: when the pieces that move have arrived. */
const stillBoard = () => Promise.allSettled(document.querySelector("#board").getAnimations({ subtree: true })
  .filter((moving) => Number.isFinite(moving.effect.getTiming().iterations)).map((moving) => moving.finished));

/** A client of the protocol without a page: requests by `ref`, everything else in `heard`. */
async function player(name, token) {
  const { port } = await (await fetch(`${PAGE_URL}/gateway.json`)).json();
  const line = await connect(`ws://127.0.0.1:${port}/live`);
  const heard = [];
  let last = 0;
  const next = async () => JSON.parse(await line.next());
  const self = {
    heard,
    async ask(action, fields = {}) {
      const ref = `${++last}`;
      line.send(JSON.stringify({ action, ...fields, ref }));
      for (;;) {
        const event = await next();
        if (event.ref === ref) return event;
        heard.push(event);
      }
    },
    /** The first message that `wanted` takes, of those heard and those to come. */
    async hear(what, wanted) {
      for (;;) {
        const at = heard.findIndex(wanted);
        if (at >= 0) return heard.splice(at, 1)[0];
        heard.push(await within(what, next()));
      }
    },
    close: () => line.close(),
    closed: () => line.closed(),
  };
  const hello = await self.ask("hello", { name, token, visit: `${name}-1` });
  assert.equal(hello.type, "place");
  return Object.assign(self, { id: hello.you, token: hello.token, match: hello.match });
}

/** Two clients who play each other; whose turn it is comes first. */
async function opponents() {
  const ada = await player("Ada");
  const { match } = await ada.ask("open", { size: 2 });
  const grace = await player("Grace");
  assert.equal((await grace.ask("sit", { match })).match, match);
  const { match: view } = await ada.ask("look");
  assert.equal(view.phase, "playing");
  assert.deepEqual(view.seats.map((seat) => seat.id), [ada.id, grace.id]);
  return { ada, grace, match, view };
}

await main({
  async two_players_play_a_match_to_its_end() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada");
      const sockets = [];
      const graces = await window();
      graces.on("page", (page) => page.on("websocket", (socket) => sockets.push(socket.url())));
      const grace = await come(graces, "Grace");
      const match = await openMatch(ada, 2);
      await sitDown(grace, match);
      for (const page of [ada, grace]) await begun(page);
      await becomes("the players", () => names(ada), ["Ada", "Grace"]);
      assert.equal(sockets.length, 1);
      assert.match(sockets[0], /^ws:\/\/127\.0\.0\.1:\d+\/live$/);
      assert.deepEqual(await counts(ada), ["3", "3"]);

      const moves = await play([ada, grace]);
      assert(moves > 10, `a match has more than ${moves} moves`);
      for (const page of [ada, grace]) await page.waitForSelector("#status[data-phase=over]");
      const owned = (await counts(ada)).map(Number);
      assert.deepEqual((await counts(grace)).map(Number), owned);
      assert.deepEqual(await cells(ada), await cells(grace));
      assert(owned[0] + owned[1] <= 36, `${owned} of 36 cells`);
      const [won, lost] = owned[0] > owned[1] ? [ada, grace] : [grace, ada];
      if (owned[0] !== owned[1]) {
        assert.equal(await won.textContent("#status-title"), "You win!");
        assert.match(await lost.textContent("#status-title"), /^(Ada|Grace) wins$/);
      }

      await ada.click("#rematch");
      await grace.waitForSelector('#status-text:has-text("Ada would like a rematch")');
      await grace.click("#rematch");
      for (const page of [ada, grace]) await begun(page);
      await becomes("the new board", () => counts(grace), ["3", "3"]);
      assert.equal(await turnOf(ada), "Grace", "the other one begins the second round");

      await grace.click("#leave");
      assert.equal(await grace.textContent("#leave span"), "Give up?");
      await grace.click("#leave");
      await grace.waitForSelector("#lobby:not([hidden])");
      await ada.waitForSelector("#status[data-phase=over]");
      assert.equal(await ada.textContent("#status-title"), "You win!");
    });
  },

  /** The third comes from the lobby, the fourth by the link; a fifth can watch. */
  async a_third_and_a_fourth_can_join() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada");
      const match = await openMatch(ada, 4);
      const grace = await come(await window(), "Grace");
      await sitDown(grace, match);
      await becomes("two are there", () => names(ada), ["Ada", "Grace"]);
      const mary = await come(await window(), "Mary");
      await sitDown(mary, match);
      await becomes("three are there", () => names(ada), ["Ada", "Grace", "Mary"]);
      assert.equal(await ada.textContent("#status-title"), "Waiting for one more player");
      const alan = await follow(await window(), match, "Alan");
      const all = [ada, grace, mary, alan];
      for (const page of all) await begun(page);
      for (const page of all) await becomes("four play", () => names(page), ["Ada", "Grace", "Mary", "Alan"]);
      assert.deepEqual(await counts(alan), ["2", "2", "2", "2"]);

      const edsger = await come(await window(), "Edsger");
      await edsger.click(`#matches [data-match="${match}"][data-phase=playing] button`);
      await edsger.waitForSelector("#match:not([hidden])");
      await becomes("one watches", () => ada.locator(".watchers").allTextContents(), ["1 person watches"]);

      assert.equal(await play(all, 8), 8);
      for (const page of [...all, edsger]) await becomes("the turn", () => turnOf(page), "Ada");
      for (const page of [grace, mary, alan, edsger]) assert.deepEqual(await cells(page), await cells(ada));
      assert.equal(await edsger.locator("#board [data-move]").count(), 0);
    });
  },

  async a_reload_comes_back_into_the_seat() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada");
      const graces = await window();
      const grace = await come(graces, "Grace");
      const match = await openMatch(ada, 2);
      await sitDown(grace, match);
      await begun(grace);
      await play([ada, grace], 3);
      const before = await cells(ada);
      await turnComes(grace);

      // Whatever the others see while she is away, they see it before she is back.
      await grace.goto("about:blank");
      await ada.waitForSelector("#players [data-here=false]");
      assert.equal(await ada.locator("#players [data-here=false] bdi").textContent(), "Grace");
      await grace.goto(PAGE_URL);
      await turnComes(grace);
      assert.equal(new URL(grace.url()).searchParams.get("match"), match);
      await ada.waitForSelector("#players [data-here=false]", { state: "detached" });
      assert.deepEqual(await cells(grace), before);
      assert.deepEqual(await names(grace), ["Ada", "Grace"]);

      await grace.reload();
      await turnComes(grace);
      assert.deepEqual(await cells(grace), before);
      await play([ada, grace], 2);
      assert.deepEqual(await cells(grace), await cells(ada));
    });
  },

  /** The line breaks while the page stays; without the browser, so that it is surely cut. */
  async a_cut_connection_comes_back_into_the_seat() {
    const { ada, grace, match, view } = await opponents();
    await grace.close();
    const away = await ada.hear("that Grace is away", (event) => event.type === "match" && event.match.seats[1]?.here === false);
    assert.deepEqual(away.match.owners, view.owners);
    const again = await player("Grace", grace.token);
    assert.equal(again.id, grace.id);
    assert.equal(again.match, match);
    await ada.hear("that Grace is back", (event) => event.type === "match" && event.match.version > away.match.version && event.match.seats[1]?.here);
    assert.deepEqual((await again.ask("look")).match.owners, view.owners);

    // A second tab with the same token takes the seat, and the first is told.
    const other = await player("Grace", grace.token);
    assert.equal(other.id, grace.id);
    assert.deepEqual(await again.closed(), { code: 4001, reason: "open elsewhere" });
    // Who makes a token up is somebody else.
    const stranger = await player("Grace", "made-up");
    assert.notEqual(stranger.id, grace.id);
    assert.equal(stranger.match, null);
    for (const each of [ada, other, stranger]) await each.close();
  },

  async an_illegal_move_is_refused_and_changes_nothing() {
    const { ada, grace, view } = await opponents();
    const own = view.owners.indexOf(0);
    const theirs = view.owners.indexOf(1);
    const far = view.owners.lastIndexOf(-1);
    const refusals = [
      [ada, { from: theirs, to: far }, "illegal_move", "a move starts from a piece of one's own"],
      [ada, { from: own, to: theirs }, "illegal_move", "a move ends on a free cell"],
      [ada, { from: own, to: far }, "illegal_move", "a move goes one cell or two"],
      [ada, { from: own, to: 36 }, "illegal_move", "cells have numbers from 0 to 35"],
      [ada, { from: "0", to: null }, "illegal_move", "cells have numbers from 0 to 35"],
      [ada, {}, "illegal_move", "cells have numbers from 0 to 35"],
      [grace, { from: theirs, to: far }, "not_your_turn", "it is the turn of Ada"],
    ];
    for (const [who, move, code, message] of refusals) {
      const { ref: _, ...answer } = await who.ask("move", move);
      assert.deepEqual(answer, { type: "error", code, message }, JSON.stringify(move));
    }
    const { match: after } = await grace.ask("look");
    assert.deepEqual({ ...after, left_ms: 0 }, { ...view, left_ms: 0 });

    const stranger = await player("Stranger");
    assert.equal((await stranger.ask("move", { from: own, to: own + 1 })).code, "not_seated");
    assert.equal((await stranger.ask("sit", { match: view.id })).code, "begun");
    assert.equal((await stranger.ask("sit", { match: "none" })).code, "unknown_match");
    assert.equal((await stranger.ask("open", { size: 5 })).code, "bad_size");
    assert.equal((await stranger.ask("fly")).code, "unknown_action");
    await stranger.ask("watch", { match: view.id });
    assert.equal((await stranger.ask("move", { from: own, to: own + 1 })).code, "not_seated");
    for (const each of [ada, grace, stranger]) await each.close();
  },

  async signalling_connects_the_data_channels_of_two_pages() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada");
      const match = await openMatch(ada, 2);
      const graces = await window();
      const frames = [];
      graces.on("page", (page) => page.on("websocket", (socket) => {
        for (const way of ["framesent", "framereceived"]) socket.on(way, ({ payload }) => frames.push(payload));
      }));
      const grace = await follow(graces, match, "Grace");
      for (const page of [ada, grace]) await page.waitForSelector("#peers-state[data-state=open]");
      assert.equal(await ada.textContent("#peers-state"), "Directly connected to 1 of 1");
      // One of the two offers, whoever it is; all of it comes by the route of its kind.
      for (const kind of ["offer", "answer", "candidate"]) {
        assert(frames.some((frame) => frame.includes(`"action":"${kind}"`) || frame.includes(`"type":"${kind}"`)), `a signal ${kind}`);
      }

      const before = frames.length;
      await ada.locator("#reactions [data-reaction=laugh]").click();
      await grace.waitForSelector('.reaction[data-shown="laugh"]');
      await ada.locator("#board [data-cell]").nth(20).hover();
      await grace.waitForSelector("#board .cursor");
      assert.equal(await grace.locator("#board .cursor text").textContent(), "Ada");
      assert(!frames.slice(before).some((frame) => /reaction|"x":/.test(frame)), "reactions and pointers do not pass through the gateway");

      // A page that was loaded anew is connected to anew.
      await ada.reload();
      for (const page of [ada, grace]) await page.waitForSelector("#peers-state[data-state=open]");
      await ada.locator("#reactions [data-reaction=wave]").click();
      await grace.waitForSelector('.reaction[data-shown="wave"]');
    });
  },

  async signals_reach_the_peer_that_they_name_and_nobody_else() {
    const { ada, grace, match } = await opponents();
    const watcher = await player("Watcher");
    await watcher.ask("watch", { match });
    for (const [kind, data] of [["offer", { sdp: "v=0" }], ["candidate", { candidate: "c" }]]) {
      assert.equal((await ada.ask(kind, { to: grace.id, link: "l1", data })).type, "ok");
      assert.deepEqual(await grace.hear(kind, (event) => event.type === kind), { type: kind, from: ada.id, visit: "Ada-1", link: "l1", data });
    }
    assert.equal((await grace.ask("answer", { to: ada.id, link: "l1", data: { sdp: "v=0" } })).type, "ok");
    assert.equal((await ada.hear("the answer", (event) => event.type === "answer")).from, grace.id);
    await watcher.ask("look");
    assert.deepEqual(watcher.heard.filter((event) => ["offer", "answer", "candidate"].includes(event.type)), []);
    assert.equal((await watcher.ask("offer", { to: ada.id, link: "l2", data: {} })).code, "not_seated");
    assert.equal((await ada.ask("offer", { to: grace.id, link: "l3" })).code, "bad_signal");
    assert.equal((await ada.ask("offer", { to: grace.id, link: "l3", data: { sdp: "x".repeat(20_000) } })).code, "bad_signal");
    for (const each of [ada, grace, watcher]) await each.close();
  },

  async an_offer_to_an_unknown_peer_is_answered_with_an_error() {
    const { ada, grace } = await opponents();
    const elsewhere = await player("Elsewhere");
    const ask = (to) => ada.ask("offer", { to, link: "l1", data: { sdp: "v=0" } });
    for (const to of ["p-nobody", elsewhere.id, ada.id]) {
      const { ref: _, ...answer } = await ask(to);
      assert.deepEqual(answer, { type: "error", code: "unknown_peer", message: `no other player of this match is "${to}"` });
    }
    for (const to of [undefined, 7, { id: grace.id }]) assert.equal((await ask(to)).code, "unknown_peer");
    await elsewhere.ask("look");
    assert(!elsewhere.heard.some((event) => event.type === "offer"), "who sits elsewhere hears nothing of it");
    for (const each of [ada, grace, elsewhere]) await each.close();
  },

  async an_offer_to_a_lost_peer_is_answered_with_an_error() {
    const { ada, grace } = await opponents();
    const offer = { to: grace.id, link: "l1", data: { sdp: "v=0" } };
    assert.equal((await ada.ask("offer", offer)).type, "ok");
    await grace.close();
    // Whether or not the backend has heard of the end already: the gateway knows that she is gone.
    const { ref: _, ...answer } = await ada.ask("offer", offer);
    assert.deepEqual(answer, { type: "error", code: "lost_peer", message: "Grace is away" });
    await ada.hear("that Grace is away", (event) => event.type === "match" && event.match.seats[1]?.here === false);
    assert.equal((await ada.ask("candidate", offer)).code, "lost_peer");
    const again = await player("Grace", grace.token);
    assert.equal((await ada.ask("offer", offer)).type, "ok");
    await again.hear("the offer", (event) => event.type === "offer");
    for (const each of [ada, again]) await each.close();
  },

  async what_others_write_stays_text() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), '<b id="b">A</b>');
      const match = await openMatch(ada, 3);
      const grace = await come(await window(), "Grace");
      const row = grace.locator(`#matches [data-match="${match}"]`);
      assert.equal(await row.locator("bdi").textContent(), '<b id="b">A</b>');
      await sitDown(grace, match);
      await becomes("the players", () => names(grace), ['<b id="b">A</b>', "Grace"]);
      assert.equal(await grace.locator("#b").count(), 0);
    });
  },

  async the_board_is_played_with_the_keyboard() {
    await inBrowser(async ({ window }) => {
      const ada = await come(await window(), "Ada");
      const match = await openMatch(ada, 2);
      const grace = await follow(await window(), match, "Grace");
      await turnComes(ada);
      const before = await counts(ada);
      // Ada has the eastern corner, at the right end of the middle row: leap from there to the left.
      const corner = ada.locator('#board [aria-label^="row 4, cell 6: yours"]');
      await corner.focus();
      await ada.keyboard.press("Enter");
      await ada.waitForSelector('#board .chosen[aria-pressed="true"]');
      await ada.keyboard.press("ArrowLeft");
      await ada.keyboard.press("ArrowLeft");
      assert.equal(await ada.evaluate(() => document.activeElement.dataset.move), "leap");
      await ada.keyboard.press("Escape");
      assert.equal(await ada.locator("#board .chosen").count(), 0);
      await ada.keyboard.press("ArrowRight");
      await ada.keyboard.press("Space");
      await turnComes(grace);
      await becomes("it has grown", () => counts(ada), [String(Number(before[0]) + 1), before[1]]);
    });
  },

  /** For people to look at; what they show is asserted in the other cases. */
  async screenshots_are_kept() {
    const folder = process.env.TIDEGATE_SCREENSHOTS;
    await mkdir(folder, { recursive: true });
    const shots = [];
    const shoot = async (page, name) => {
      const file = path.join(folder, `game-${name}.png`);
      await page.screenshot({ path: file });
      shots.push(file);
    };
    const looks = [["wide-light", { colorScheme: "light" }], ["wide-dark", { colorScheme: "dark" }],
      ["narrow-light", { colorScheme: "light", viewport: NARROW, hasTouch: true }], ["narrow-dark", { colorScheme: "dark", viewport: NARROW, hasTouch: true }]];
    await inBrowser(async ({ window }) => {
      const waiting = await come(await window(), "Edsger");
      await openMatch(waiting, 3);
      await shoot(waiting, "waiting-wide-light");
      const people = ["Ada Lovelace", "Grace", "Mary", "Alan"];
      const pages = [];
      for (const [i, [, options]] of looks.entries()) pages.push(await come(await window(options), people[i]));
      const match = await openMatch(pages[0], 4);
      for (const page of pages.slice(1)) await page.waitForSelector(`#matches [data-match="${match}"]`);
      for (const [i, [name]] of looks.entries()) if (i > 0) await shoot(pages[i], `lobby-${name}`);
      const visitor = await come(await window({ colorScheme: "light" }), "Barbara");
      await visitor.waitForSelector(`#matches [data-match="${match}"]`);
      await shoot(visitor, "lobby-wide-light");
      for (const page of pages.slice(1)) await sitDown(page, match);
      for (const page of pages) await begun(page);
      for (const page of pages) await page.waitForSelector('#peers-state:has-text("Directly connected to 3 of 3")');
      await play(pages, 17);
      await turnComes(pages[1]);
      await pages[2].locator("#board [data-cell]").nth(26).hover();
      await pages[1].waitForSelector("#board .cursor");
      await pages[3].click("#reactions [data-reaction=wave]");
      for (const page of pages) await page.waitForSelector('.reaction[data-shown="wave"]');
      for (const [i, [name]] of looks.entries()) await shoot(pages[i], `match-${name}`);
      const first = await come(await window({ colorScheme: "dark" }), "Ada");
      const duel = await openMatch(first, 2);
      const second = await follow(await window({ colorScheme: "light", viewport: NARROW }), duel, "Grace");
      await play([first, second]);
      for (const page of [first, second]) await page.evaluate(stillBoard);
      await shoot(first, "over-wide-dark");
      await shoot(second, "over-narrow-light");
    });
    for (const file of shots) assert((await stat(file)).size > 5_000, `${file} shows something`);
  },
});
