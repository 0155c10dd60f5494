// A function behind a WebSocket API, written for Lambda; it runs under `aws-lambda-ric`.
//
// Nothing here knows Tidegate. `app.py`, `chat.cjs` and `main.rs` are the same function.

import { ApiGatewayManagementApiClient, PostToConnectionCommand } from "@aws-sdk/client-apigatewaymanagementapi";

export const handler = async (event, context) => {
  const { eventType, routeKey, connectionId } = event.requestContext;
  if (eventType === "CONNECT") return onConnect(event.queryStringParameters ?? {});
  if (eventType === "DISCONNECT") {
    console.log(`goodbye ${connectionId}`);
    return { statusCode: 200 };
  }
  return routes[routeKey](JSON.parse(event.body), event.requestContext, context);
};

function onConnect(query) {
  if (query.how) return misbehave(query.how);
  return { statusCode: query.token === "stolen" ? 403 : 200 };
}

const routes = {
  /** The reply of a two-way route. */
  greet: ({ name }, { connectionId }, context) => ({
    statusCode: 200,
    body: JSON.stringify({
      text: `hello ${name}`,
      connectionId,
      function: context.functionName,
      memory: Number(context.memoryLimitInMB),
      arn: context.invokedFunctionArn,
      remainingMs: context.getRemainingTimeInMillis(),
    }),
  }),

  /** A post back, to the address that most handlers build. */
  announce: ({ text }, { domainName, stage, connectionId }) =>
    post(`https://${domainName}/${stage}`, connectionId, text),

  /** The same, to Amazon's own name of the API. */
  "announce-by-api": ({ text }, { apiId, stage, connectionId }) =>
    post(`https://${apiId}.execute-api.${process.env.AWS_REGION}.amazonaws.com/${stage}`, connectionId, text),

  misbehave: ({ how }) => misbehave(how),
};

async function post(endpoint, ConnectionId, Data) {
  const management = new ApiGatewayManagementApiClient({ endpoint });
  await management.send(new PostToConnectionCommand({ ConnectionId, Data }));
  return { statusCode: 200 };
}

async function misbehave(how) {
  switch (how) {
    case "throw":
      throw new Error("boom");
    case "hang":
      await new Promise((resolve) => setTimeout(resolve, 3_600_000));
      break;
    case "exit":
      process.exit(3);
      break;
    case "leave":
      process.exit(0);
      break;
    case "print":
      console.log("x".repeat(1_000_000));
      for (let line = 0; line < 50_000; line += 1) console.log(`line ${line}`);
      return { statusCode: 200, body: "printed" };
  }
  return nonsense[how];
}

const nonsense = {
  nothing: undefined,
  text: "hello",
  number: 200,
  list: [200],
  "no-status": { body: "hello" },
  "bad-status": { statusCode: "yes", body: "hello" },
  // Nothing that JSON has: the runtime client says so.
  unspeakable: { statusCode: 200, body: 1n },
};
