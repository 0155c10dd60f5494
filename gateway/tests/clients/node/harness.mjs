// What the JavaScript programs share: one named case per run, against what the test started.
//
// In:  the case's name (or --list) as the argument; TIDEGATE_NODE_MODULES, the folder with
//      `node_modules`; TIDEGATE_WS_URL and TIDEGATE_MANAGEMENT_URL, the stage's two addresses.
// Out: exit 0, or an error that says what was different.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";

/** Loads a package from where ./test.sh installed it; imports only look beside their own file. */
export const dependency = createRequire(`${process.env.TIDEGATE_NODE_MODULES}/`);

export const WS_URL = process.env.TIDEGATE_WS_URL;
export const MANAGEMENT_URL = process.env.TIDEGATE_MANAGEMENT_URL;
export const DEADLINE_MS = 20_000;

/** Runs the case that the argument names, one of these functions. */
export async function main(cases) {
  const [name] = process.argv.slice(2);
  if (name === "--list") return console.log(Object.keys(cases).join("\n"));
  assert(Object.hasOwn(cases, name), `no case ${name}`);
  await cases[name]();
}

/** The promise's value, or a failure that names what never came. */
export async function within(what, promise, deadlineMs = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${deadlineMs} ms: ${what}`)), deadlineMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** An open WebSocket of npm's `ws`, with what it has received in order. */
export async function connect(url = WS_URL, protocols = [], options = {}) {
  const { WebSocket } = dependency("ws");
  const socket = new WebSocket(url, protocols, options);
  const messages = [];
  const waiting = [];
  socket.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    if (waiting.length > 0) waiting.shift()(message);
    else messages.push(message);
  });
  const closed = once(socket, "close").then(([code, reason]) => ({ code, reason: reason.toString() }));
  await within("the upgrade", once(socket, "open"));
  return {
    socket,
    send: (data) => socket.send(data),
    next: () => within("a message", new Promise((resolve) => {
      if (messages.length > 0) resolve(messages.shift());
      else waiting.push(resolve);
    })),
    closed: () => within("the close", closed),
    async close() {
      socket.close();
      await within("the close", closed);
    },
  };
}

/** Asks the backend behind the gateway which connection this is. */
export async function connectionId(client) {
  client.send("who am I");
  return client.next();
}
