// The game's backend: reads the two ports, listens, ends on SIGTERM or Ctrl-C.

import { randomInt } from "node:crypto";

import { Gateway } from "./gateway.js";
import { serve } from "./server.js";
import { World } from "./world.js";

const LETTERS = "abcdefghjkmnpqrstuvwxyz23456789";
const random = (length) => Array.from({ length }, () => LETTERS[randomInt(LETTERS.length)]).join("");

function port(name, otherwise) {
  const text = process.env[name] ?? String(otherwise);
  const number = Number(text);
  if (/^\d+$/.test(text) && number > 0 && number < 65_536) return number;
  console.error(`${name} is ${JSON.stringify(text)}, and must be a port from 1 to 65535`);
  process.exit(64);
}

const pagePort = port("PAGE_PORT", 3000);
const gatewayPort = port("GATEWAY_PORT", 8080);
const server = serve(new World(random), new Gateway(`http://127.0.0.1:${gatewayPort}/live`), gatewayPort);

server.on("error", (error) => {
  console.error(`cannot listen on 127.0.0.1:${pagePort}: ${error.message}`);
  process.exit(1);
});
server.listen(pagePort, "127.0.0.1");
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    server.close();
    server.closeAllConnections();
  });
}
