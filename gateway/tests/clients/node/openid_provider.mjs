// An OpenID provider of npm's `oidc-provider`, whose keys the test exchanges while it serves.
//
// In:  TIDEGATE_NODE_MODULES, the folder with `node_modules`; on standard input, a line per
//      change: the names of the keys to publish, parted by spaces. The first one signs. A name that
//      comes for the first time becomes a new key.
// Out: the first line of standard output is the issuer's url; then, for each change, a line with
//      the published keys' ids in the order of the names, once they are served.
//
// A provider reads its keys once. So each change makes a new one for the same issuer, and the
// server hands requests to the newest, as a rolling restart behind a balancer would.

import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

// Its advice about production is not for the test, whose lines standard output is for.
console.info = console.error;
console.warn = console.error;

const installed = join(process.env.TIDEGATE_NODE_MODULES, "node_modules/oidc-provider");
const { default: Provider } = await import(pathToFileURL(join(installed, "lib/index.js")));

const keys = new Map();
let serve = (_request, response) => response.writeHead(503).end();
const server = createServer((request, response) => serve(request, response));
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

/** The private key of that name. */
function key(name) {
  if (!keys.has(name)) {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const jwk = privateKey.export({ format: "jwk" });
    keys.set(name, { ...jwk, kid: `key-${name}`, use: "sig", alg: "RS256" });
  }
  return keys.get(name);
}

/** Publishes these keys from now on and signs with the first. */
function publish(names) {
  const published = names.map(key);
  const provider = new Provider(issuer, {
    jwks: { keys: published },
    clients: [
      {
        client_id: "chat-client",
        client_secret: "chat-secret",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: "client_secret_post",
      },
    ],
    scopes: ["chat.use"],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: "chat.use",
          audience: "chat",
          accessTokenTTL: 3600,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  });
  serve = provider.callback();
  console.log(published.map(({ kid }) => kid).join(" "));
}

console.log(issuer);
for await (const line of createInterface({ input: process.stdin })) publish(line.split(" "));
// The test has gone.
process.exit(0);
