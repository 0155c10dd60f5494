// npm's `ws` as the client: handshake, messages, close codes (client contract, section 3).

import assert from "node:assert/strict";
import { once } from "node:events";

import { WS_URL, connect, dependency, main, within } from "./harness.mjs";

const { WebSocket } = dependency("ws");

await main({
  async text_comes_back_as_text() {
    const client = await connect();
    assert.equal(client.socket.extensions, "", "compression is offered, and off by default");
    for (const text of ["hello", "grüße 🌊", "", "x".repeat(30_000)]) {
      client.send(text);
      assert.equal(await client.next(), text);
    }
    await client.close();
  },

  async a_fragmented_message_arrives_whole() {
    const client = await connect();
    client.socket.send("one, ", { fin: false });
    client.socket.send("two", { fin: true });
    assert.equal(await client.next(), "one, two");
    await client.close();
  },

  async a_ping_is_answered() {
    const client = await connect();
    const pong = once(client.socket, "pong");
    client.socket.ping("are you there");
    const [data] = await within("the pong", pong);
    assert.equal(data.toString(), "are you there");
    await client.close();
  },

  async the_subprotocol_is_the_backends_choice() {
    const client = await connect(WS_URL, ["chat.v2", "chat.v1"]);
    assert.equal(client.socket.protocol, "chat.v1");
    await client.close();
  },

  /** An offer that the backend leaves open stays open; `ws`, as browsers do, then gives up. */
  async a_subprotocol_that_the_backend_does_not_choose_is_not_answered() {
    const socket = new WebSocket(WS_URL, ["chat.v3"]);
    const [error] = await within("the failure", once(socket, "error"));
    assert.match(error.message, /Server sent no subprotocol/);
  },

  async a_refused_handshake_shows_its_status() {
    for (const status of [401, 403, 429]) {
      const socket = new WebSocket(`${WS_URL}?refuse=${status}`);
      const [request, response] = await within("the refusal", once(socket, "unexpected-response"));
      assert.equal(response.statusCode, status);
      request.destroy();
    }
  },

  async a_binary_message_closes_with_1003() {
    const client = await connect();
    client.send(Buffer.from([0, 1]));
    assert.equal((await client.closed()).code, 1003);
  },

  async a_frame_over_32_kib_closes_with_1009() {
    const client = await connect();
    client.send("x".repeat(32_769));
    assert.equal((await client.closed()).code, 1009);
  },

  /** Closing with a code of one's own is answered with the same code. */
  async a_close_is_answered() {
    const client = await connect();
    client.socket.close(4001, "done");
    assert.deepEqual(await client.closed(), { code: 4001, reason: "done" });
  },
});
