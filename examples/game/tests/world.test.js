import assert from "node:assert/strict";
import { test } from "node:test";

import { AWAY_MS, IDLE_MS } from "../src/match.js";
import { World } from "../src/world.js";

/** A world whose ids count up, and a way to talk to it. */
function world() {
  let last = 0;
  const made = new World((length) => String(++last).padStart(length, "0"));
  const say = (connection, action, fields = {}, now = 0) => made.handle(action, connection, { action, ...fields, ref: "r" }, now);
  const come = (connection, name) => {
    made.handle("$connect", connection, null, 0);
    const { reply } = say(connection, "hello", { name, visit: `${name}-1` });
    return { connection, id: reply.you, token: reply.token };
  };
  return { made, say, come };
}

/** Ada and Grace at their seats, and what was news until then dropped. */
function playing() {
  const here = world();
  const ada = here.come("a", "Ada");
  const grace = here.come("g", "Grace");
  const { match } = here.say("a", "open", { size: 2 }).reply;
  here.say("g", "sit", { match });
  here.made.posts(0);
  return { ...here, ada, grace, match };
}

test("a connection is in the lobby from the start, and in its match's group before it hears of it", () => {
  const { made, say, come } = world();
  assert.deepEqual(made.handle("$connect", "a", null, 0).join, ["lobby"]);
  come("a", "Ada");
  const opened = say("a", "open", { size: 2 });
  assert.deepEqual(opened.join, [`match-${opened.reply.match}`]);
  assert.deepEqual(opened.leave, ["lobby"]);
  const left = say("a", "leave");
  assert.deepEqual([left.join, left.leave], [["lobby"], [`match-${opened.reply.match}`]]);
});

test("news go to the groups they are of, and only when there are any", () => {
  const { made, say, match, grace } = playing();
  assert.deepEqual(made.posts(0), []);
  made.gone(grace.connection, 0);
  assert.deepEqual(made.posts(0).map(([group]) => group), [`match-${match}`, "lobby"]);
  say("a", "look");
  assert.deepEqual(made.posts(0), []);
});

test("the token leads back to the seat, from whichever connection; the one before is closed", () => {
  const { made, say, match, grace } = playing();
  made.gone("g", 0);
  const again = say("g2", "hello", { token: grace.token, visit: "2" });
  assert.equal(again.reply.you, grace.id);
  assert.equal(again.reply.match, match);
  assert.deepEqual(again.join, [`match-${match}`]);
  assert.equal(again.close, undefined);
  assert.equal(say("g3", "hello", { token: grace.token }).close, "g2");
  made.handle("$disconnect", "g2", null, 0);
  assert.equal(say("g3", "look").reply.match.seats[1].here, true, "the end of the old connection is not the player's");
  assert.notEqual(say("x", "hello", { token: "guessed" }).reply.you, grace.id);
});

test("a token is told to its owner only", () => {
  const { made, say, ada, grace } = playing();
  made.gone("g", 0);
  const seen = JSON.stringify([say("a", "look"), made.posts(0), say("a", "offer", { to: grace.id, link: "l", data: {} })]);
  for (const { token } of [ada, grace]) assert(!seen.includes(token));
});

test("signals go to the peer's connection, and to nobody who sits elsewhere or is away", () => {
  const { made, say, come, grace, ada } = playing();
  const signal = { to: grace.id, link: "l", data: { sdp: "s" } };
  const { forward, reply } = say("a", "offer", signal);
  assert.equal(reply.type, "ok");
  assert.equal(forward.connection, "g");
  assert.deepEqual(forward.message, { type: "offer", from: ada.id, visit: "Ada-1", link: "l", data: { sdp: "s" } });
  const other = come("o", "Other");
  const code = (fields) => say("a", "candidate", { ...signal, ...fields }).reply.code;
  assert.equal(code({ to: other.id }), "unknown_peer");
  assert.equal(code({ to: ada.id }), "unknown_peer");
  assert.equal(code({ data: "text" }), "bad_signal");
  assert.equal(code({ link: "" }), "bad_signal");
  assert.equal(say("o", "offer", { to: ada.id, link: "l", data: {} }).reply.code, "not_seated");
  made.gone("g", 0);
  assert.equal(code({}), "lost_peer");
});

test("one cannot sit in two matches, and leaving frees one for the next", () => {
  const { say, come, match } = playing();
  assert.equal(say("a", "open", { size: 2 }).reply.code, "seated");
  come("m", "Mary");
  const other = say("m", "open", { size: 2 }).reply.match;
  assert.equal(say("a", "sit", { match: other }).reply.code, "seated");
  assert.equal(say("a", "watch", { match: other }).reply.code, "seated");
  say("a", "leave");
  assert.equal(say("a", "sit", { match: other }).reply.match, other);
  assert.equal(say("m", "sit", { match }).reply.code, "seated");
});

test("a message that is none, and one from a stranger, get an answer that says so", () => {
  const { made, say } = world();
  const code = (route, message) => made.handle(route, "c", message, 0).reply.code;
  for (const nonsense of [null, 7, "text"]) assert.equal(code("$default", nonsense), "bad_message");
  assert.equal(say("c", "look").reply.code, "who_are_you");
  say("c", "hello");
  assert.equal(say("c", "constructor").reply.code, "unknown_action");
  assert.equal(say("c", "look").reply.ref, "r");
});

test("names are one line of at most 20 characters", () => {
  const { say, come } = world();
  const { token } = come("c", "Ada");
  const called = (name) => say("c", "hello", { name, token }).reply.name;
  assert.equal(called("  A\n\u202eda \u0000 "), "A da");
  assert.equal(called("x".repeat(50)), "x".repeat(20));
  assert.equal(called("🌊".repeat(30)), "🌊".repeat(20));
  assert.equal(called(" "), "🌊".repeat(20), "no name leaves the one before");
});

test("a match that everybody has left is told to be closed, and is forgotten with its players", () => {
  const { made, say, come, match } = playing();
  come("w", "Watcher");
  say("w", "watch", { match });
  made.gone("a", 1_000);
  made.gone("g", 1_000);
  made.tick(1_000 + AWAY_MS);
  const posts = new Map(made.posts(1_000 + AWAY_MS));
  assert.deepEqual(posts.get(`match-${match}`), { type: "closed", match });
  assert.equal(say("w", "look").reply.type, "lobby");
  made.gone("w", 2_000);
  made.tick(10 * IDLE_MS);
  assert.equal(made.due(), Infinity, "nothing is left to wait for");
});
