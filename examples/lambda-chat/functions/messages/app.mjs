// What is said: the routes say, typing and $default of a WebSocket chat on AWS Lambda.
//
// In:  events of API Gateway. Out: proxy responses, and posts to the room's connections by
//      https://{domainName}/{stage}.
//
// Holds always: the messages of a room are numbered 1, 2, 3, … without a gap, whichever workers
// number them: each takes the number after the last, and who is late tries the next.

import { ApiGatewayManagementApiClient, PostToConnectionCommand } from "@aws-sdk/client-apigatewaymanagementapi";

import { openTable } from "./table.mjs";

const MAX_TEXT_CHARS = 2000;
const MAX_MARK_BYTES = 64;
const MAX_HISTORY = 200;
/** A message that is said again is looked for among so many. */
const REMEMBERED = 50;

// Made once for each worker; a cold start pays for it.
const table = await openTable();
const clients = new Map();

export async function handler({ requestContext, body }) {
  return routes[requestContext.routeKey](body, requestContext);
}

const routes = {
  say: (body, context) => answer(body, (ask) => say(ask, context)),

  /** One-way: nobody reads what is answered. */
  async typing(body, context) {
    const me = await table.get("here", context.connectionId);
    if (me?.room) {
      const others = (await members(me.room)).filter((c) => c.person !== me.person);
      await tell(others, { type: "typing", room: me.room, person: { id: me.person, name: me.name } }, context);
    }
    return { statusCode: 200 };
  },

  $default: (body) => answer(body, () => refuse("unknown_action", "the chat knows the actions join, look, say and typing")),
};

/** Numbers and keeps one message and posts it to everyone in the room, its sender too. */
async function say(ask, context) {
  const text = ask.text?.trim();
  if (!text) refuse("empty", "a message must not be empty");
  if ([...text].length > MAX_TEXT_CHARS) refuse("too_long", `a message has at most ${MAX_TEXT_CHARS} characters`);
  const me = await table.get("here", context.connectionId);
  if (!me?.room || me.room !== ask.room) refuse("not_joined", "join the room first");
  const { seq, message } = await keep(me, text, ask.ref);
  if (message) await tell(await members(me.room), { type: "message", room: me.room, ...message }, context);
  return { type: "ok", seq };
}

/** The message's number; without a message where it was kept before, under the same mark. */
async function keep({ room, person, name }, text, ref) {
  const pk = `said#${room}`;
  for (;;) {
    const last = await table.query(pk, { newest: REMEMBERED });
    const earlier = ref && last.find((m) => m.person === person && m.ref === ref);
    if (earlier) return { seq: earlier.seq };
    const seq = (last[0]?.seq ?? 0) + 1;
    const message = { seq, at: Date.now(), person, name, text, ...(ref && { ref }) };
    if (await table.putNew({ pk, sk: number(seq), ...message })) {
      if (seq > MAX_HISTORY) await table.delete(pk, number(seq - MAX_HISTORY));
      return { seq, message };
    }
  }
}

/** So that the order of text is the order of numbers. */
const number = (seq) => String(seq).padStart(12, "0");

const members = async (room) => (await table.query("here")).filter((c) => c.room === room);

async function tell(connections, event, { domainName, stage }) {
  const endpoint = `https://${domainName}/${stage}`;
  if (!clients.has(endpoint)) clients.set(endpoint, new ApiGatewayManagementApiClient({ endpoint }));
  const Data = JSON.stringify(event);
  const posts = connections.map(({ sk }) => clients.get(endpoint).send(new PostToConnectionCommand({ ConnectionId: sk, Data })));
  for (const { reason } of await Promise.allSettled(posts)) {
    // Who is gone, `../people` takes out of the table.
    if (reason && reason.name !== "GoneException") console.error("a message did not reach its connection:", reason);
  }
}

class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

function refuse(code, message) {
  throw new Refusal(code, message);
}

/** A two-way route: what `make` returns goes to the sender, with the `ref` that came. */
async function answer(body, make) {
  let ask = {};
  try {
    ask = read(body);
    return reply({ ...(await make(ask)), ref: ask.ref });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return reply({ type: "error", code: error.code, message: error.message, ref: ask.ref });
  }
}

function read(body) {
  let ask;
  try {
    ask = JSON.parse(body);
  } catch (error) {
    refuse("malformed", `this is no JSON: ${error.message}`);
  }
  for (const name of ["room", "text", "ref"]) {
    if (!["string", "undefined"].includes(typeof (ask?.[name] ?? undefined))) refuse("malformed", `${name} is no text`);
  }
  if (Buffer.byteLength(ask?.ref ?? "") > MAX_MARK_BYTES) refuse("too_long", `ref has at most ${MAX_MARK_BYTES} characters`);
  return ask ?? {};
}

const reply = (message) => ({ statusCode: 200, body: JSON.stringify(message) });
