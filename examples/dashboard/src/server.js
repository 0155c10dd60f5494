// The backend's one port: the page's files for browsers, `POST /gateway` for the gateway.
//
// In:  HTTP requests. Out: HTTP answers.
//
// Holds always: only the files listed here are served, and the page loads nothing from elsewhere;
// the policy header tells the browser to insist on it.

import { readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";

const here = (path) => new URL(path, import.meta.url);
const uplot = createRequire(import.meta.url).resolve("uplot").replace(/[^/\\]*$/, "");
const FILES = {
  "/": ["text/html", here("../page/index.html")],
  "/dashboard.css": ["text/css", here("../page/dashboard.css")],
  "/icon.svg": ["image/svg+xml", here("../page/icon.svg")],
  "/uplot.css": ["text/css", `${uplot}uPlot.min.css`],
  "/uplot.js": ["text/javascript", `${uplot}uPlot.esm.js`],
  ...Object.fromEntries(["dashboard", "card", "charts", "line", "points", "quantities"]
    .map((name) => [`/${name}.js`, ["text/javascript", here(`../page/${name}.js`)]])),
};
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
  + "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const MOST_BODY_BYTES = 128 * 1024;

/** Starts on `port` of this machine; `answer` is for the gateway's calls. */
export function serve(port, gatewayPort, answer) {
  const files = Object.fromEntries(Object.entries(FILES).map(([path, [kind, file]]) => [path, [kind, readFileSync(file)]]));
  const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (request.method === "POST" && pathname === "/gateway") return fromGateway(request, response, answer);
    if (request.method !== "GET" && request.method !== "HEAD") return end(response, 405);
    if (pathname === "/healthz") return end(response, 204);
    if (pathname === "/gateway.json") return end(response, 200, "application/json", JSON.stringify({ port: gatewayPort }));
    if (!Object.hasOwn(files, pathname)) return end(response, 404);
    const [kind, bytes] = files[pathname];
    end(response, 200, kind, bytes);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

async function fromGateway(request, response, answer) {
  let body = "";
  try {
    request.setEncoding("utf8");
    for await (const part of request) {
      body += part;
      if (body.length > MOST_BODY_BYTES) return end(response, 413);
    }
  } catch {
    return; // the gateway has hung up
  }
  const { status, headers, body: answered } = answer({
    event: request.headers["tidegate-event-type"],
    route: request.headers["tidegate-route-key"],
    origin: request.headers.origin,
    body,
  });
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  end(response, status, "application/json", JSON.stringify(answered));
}

function end(response, status, kind, body = "") {
  response.statusCode = status;
  if (kind) response.setHeader("Content-Type", kind.startsWith("text/") ? `${kind}; charset=utf-8` : kind);
  response.setHeader("Content-Security-Policy", POLICY);
  response.setHeader("Referrer-Policy", "no-referrer");
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Cache-Control", "no-cache");
  response.end(body);
}
