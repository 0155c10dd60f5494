// The HTTP side: the gateway's calls, and the page.
//
// In:  `POST /gateway` with the Tidegate-* headers. Out: the reply as the body, and in the answer's
//      headers the groups that the connection joins and leaves.
//
// Holds always: who a call is for is told by the gateway's headers, never by the message; a body is
// bounded; only the files listed here are served.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { Refusal } from "./match.js";
import { refused } from "./world.js";

const LONGEST_BODY = 128 * 1024; // a message through the gateway is no longer
const LONGEST_TIMER_MS = 60_000;
/** Another tab has come in with this tab's token. */
const ELSEWHERE = [4001, "open elsewhere"];

const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
const PAGE = ["index.html", "reef.css", "main.js", "line.js", "lobby.js", "match.js", "board.js", "peers.js", "reactions.js", "look.js", "icon.svg"];
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

function files() {
  const read = (path) => readFileSync(new URL(path, import.meta.url));
  const served = new Map(PAGE.map((name) => [`/${name}`, read(`../page/${name}`)]));
  served.set("/rules.js", read("rules.js"));
  return served;
}

/** @returns {import("node:http").Server} not listening yet */
export function serve(world, gateway, gatewayPort) {
  const served = files();
  let timer;

  /** Tells the news, and comes back when the next clock runs out. */
  function settle() {
    for (const [group, state] of world.posts(Date.now())) void gateway.tellGroup(group, state);
    clearTimeout(timer);
    const wait = Math.min(LONGEST_TIMER_MS, Math.max(0, world.due() - Date.now()));
    timer = setTimeout(() => { world.tick(Date.now()); settle(); }, wait).unref();
  }

  async function fromGateway(request, response) {
    const { "tidegate-connection-id": connection, "tidegate-route-key": route } = request.headers;
    if (!connection || !route) return answer(response, 400, "only the gateway calls this: Tidegate-* headers are missing\n");
    const body = await read(request);
    if (body === null) return answer(response, 413, `a message has at most ${LONGEST_BODY} bytes\n`);
    const done = world.handle(route, connection, parsed(body), Date.now());
    let { reply } = done;
    if (done.close) void gateway.close(done.close, ...ELSEWHERE);
    if (done.forward) {
      const { connection: to, message, lost } = done.forward;
      const how = await gateway.tell(to, message);
      if (how === "gone") world.gone(to, Date.now());
      if (how === "gone") reply = refused(lost, reply.ref);
      if (how === "failed") reply = refused(new Refusal("not_delivered", "the gateway did not take it; try again"), reply.ref);
    }
    const groups = {};
    if (done.join?.length) groups["Tidegate-Join"] = done.join.join(",");
    if (done.leave?.length) groups["Tidegate-Leave"] = done.leave.join(",");
    answer(response, 200, reply ? JSON.stringify(reply) : "", { "Content-Type": "application/json", ...groups });
    settle();
  }

  function page(request, response) {
    const [pathname] = request.url.split("?");
    if (pathname === "/healthz") return answer(response, 200, "ok\n");
    if (pathname === "/gateway.json") return answer(response, 200, JSON.stringify({ port: gatewayPort }), { "Content-Type": "application/json" });
    const name = pathname === "/" ? "/index.html" : pathname;
    const file = served.get(name);
    if (!file) return answer(response, 404, "there is no such page\n");
    const type = `${TYPES[name.split(".").pop()]}; charset=utf-8`;
    answer(response, 200, file, { "Content-Type": type, "Content-Security-Policy": POLICY, "Cache-Control": "no-cache" });
  }

  return createServer((request, response) => {
    const path = request.url.split("?")[0];
    if (request.method === "POST" && path === "/gateway") {
      fromGateway(request, response).catch((error) => {
        console.error("a message failed:", error);
        if (!response.headersSent) answer(response, 500, "");
      });
    } else if (request.method === "GET" || request.method === "HEAD") {
      page(request, response);
    } else {
      answer(response, 405, "only GET, and POST /gateway\n");
    }
  }).on("close", () => clearTimeout(timer));
}

function answer(response, status, body, headers = {}) {
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", ...headers });
  response.end(response.req.method === "HEAD" ? undefined : body);
}

/** The body, or null when it is too long. */
async function read(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > LONGEST_BODY) return null;
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
