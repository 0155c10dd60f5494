// The AWS SDK for JavaScript v3 against the management API, unmodified: only `endpoint` leads it
// to the gateway.
//
// Credentials and region come from the environment, as the SDK finds them anywhere. Source of each
// expectation: the client contract, section 1 (what the SDK makes of which answer).

import assert from "node:assert/strict";

import { MANAGEMENT_URL, connect, connectionId, dependency, main } from "./harness.mjs";

const {
  ApiGatewayManagementApiClient, DeleteConnectionCommand, ForbiddenException, GetConnectionCommand,
  GoneException, PayloadTooLargeException, PostToConnectionCommand,
} = dependency("@aws-sdk/client-apigatewaymanagementapi");

// The shape of an id; nobody has it.
const NEVER_EXISTED = "AAAAAAAAAAAAAAA=";
const MOST_BYTES = 131_072;

const management = (options = {}) => new ApiGatewayManagementApiClient({ endpoint: MANAGEMENT_URL, ...options });
const post = (ConnectionId, Data) => new PostToConnectionCommand({ ConnectionId, Data });
const get = (ConnectionId) => new GetConnectionCommand({ ConnectionId });
const close = (ConnectionId) => new DeleteConnectionCommand({ ConnectionId });
const everyCall = (id) => [post(id, "for nobody"), get(id), close(id)];

/** Sends a command that must fail with this status and name; its error. */
async function refused(api, command, httpStatusCode, name) {
  const error = await api.send(command).then(
    (output) => assert.fail(`${command.constructor.name} succeeded: ${JSON.stringify(output.$metadata)}`),
    (thrown) => thrown,
  );
  assert.deepEqual([error.$metadata?.httpStatusCode, error.name], [httpStatusCode, name], error);
  return error;
}

async function isGone(api, id) {
  for (const command of everyCall(id)) {
    const error = await refused(api, command, 410, "GoneException");
    assert(error instanceof GoneException);
  }
}

/** Post, get and delete of a living connection are forbidden, and the client hears nothing. */
async function forbidsEverything(api, name = "ForbiddenException") {
  const client = await connect();
  const id = await connectionId(client);
  for (const command of everyCall(id)) {
    const error = await refused(api, command, 403, name);
    assert.equal(error instanceof ForbiddenException, name === "ForbiddenException");
  }
  assert.equal(await connectionId(client), id, "the next thing it hears is its own answer");
  await client.close();
}

await main({
  async a_post_arrives_as_text() {
    const api = management();
    const client = await connect();
    const id = await connectionId(client);
    for (const data of ["hello", Buffer.from("grüße 🌊"), "", "x".repeat(MOST_BYTES)]) {
      const { $metadata } = await api.send(post(id, data));
      assert.equal($metadata.httpStatusCode, 200);
      assert($metadata.requestId, "x-amzn-RequestId is there");
      assert.equal(await client.next(), data.toString());
    }
    await client.close();
  },

  async get_says_since_when_and_from_where() {
    const api = management();
    const client = await connect(undefined, [], { headers: { "User-Agent": "an SDK test" } });
    const id = await connectionId(client);
    const first = await api.send(get(id));
    assert.deepEqual(first.Identity, { SourceIp: "127.0.0.1", UserAgent: "an SDK test" });
    assert(first.ConnectedAt instanceof Date && first.LastActiveAt instanceof Date);
    assert(Math.abs(Date.now() - first.ConnectedAt) < 60_000, `connected at ${first.ConnectedAt}`);
    assert(first.LastActiveAt >= first.ConnectedAt);
    assert.equal(await connectionId(client), id);
    const second = await api.send(get(id));
    assert(second.LastActiveAt > first.LastActiveAt, "a message is activity");
    await client.close();
  },

  async get_copes_with_a_client_that_names_no_user_agent() {
    const client = await connect();
    const { Identity } = await management().send(get(await connectionId(client)));
    assert.deepEqual(Identity, { SourceIp: "127.0.0.1" });
    await client.close();
  },

  async delete_closes_with_1000_and_then_it_is_gone() {
    const api = management();
    const client = await connect();
    const id = await connectionId(client);
    const { $metadata } = await api.send(close(id));
    assert.equal($metadata.httpStatusCode, 204);
    assert.deepEqual(await client.closed(), { code: 1000, reason: "" });
    await isGone(api, id);
  },

  async a_connection_that_its_client_closed_is_gone() {
    const client = await connect();
    const id = await connectionId(client);
    await client.close();
    await isGone(management(), id);
  },

  async an_id_that_never_existed_is_gone() {
    await isGone(management(), NEVER_EXISTED);
  },

  async a_wrong_secret_is_403() {
    const accessKeyId = process.env.AWS_ACCESS_KEY_ID;
    await forbidsEverything(management({ credentials: { accessKeyId, secretAccessKey: "not the secret" } }));
  },

  async an_unknown_access_key_is_403() {
    const secretAccessKey = process.env.AWS_SECRET_ACCESS_KEY;
    await forbidsEverything(management({ credentials: { accessKeyId: "AKIDNOBODY", secretAccessKey } }));
  },

  async an_unsigned_call_is_403() {
    const unsigned = { sign: async (request) => request };
    await forbidsEverything(management({ signer: unsigned }), "MissingAuthenticationTokenException");
  },

  async a_wrong_stage_is_403() {
    await forbidsEverything(management({ endpoint: `${MANAGEMENT_URL}-not-there` }));
  },

  async a_malformed_id_is_400() {
    const api = management();
    for (const id of ["short", "much-too-long-for-an-id", "AAAAAAAAAAAAAA/=", "a/b c+d&e?f%20~-_.*!'()"]) {
      for (const command of everyCall(id)) {
        const error = await refused(api, command, 400, "BadRequestException");
        assert.match(error.message, /^Invalid connectionId/);
      }
    }
  },

  async a_post_over_128_kib_is_413() {
    const client = await connect();
    const id = await connectionId(client);
    const tooLarge = post(id, "x".repeat(MOST_BYTES + 1));
    const error = await refused(management(), tooLarge, 413, "PayloadTooLargeException");
    assert(error instanceof PayloadTooLargeException);
    assert.equal(await connectionId(client), id, "the next thing it hears is its own answer");
    await client.close();
  },

  /** The SDK then asks for `/prod//@connections/…` and signs `/prod/%40connections/…`. */
  async the_endpoint_may_end_in_a_slash() {
    const api = management({ endpoint: `${MANAGEMENT_URL}/` });
    const client = await connect();
    const id = await connectionId(client);
    await api.send(post(id, "hello"));
    assert.equal(await client.next(), "hello");
    await api.send(get(id));
    await api.send(close(id));
    assert.equal((await client.closed()).code, 1000);
    await isGone(api, id);
  },
});
