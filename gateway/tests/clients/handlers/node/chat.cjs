// A function behind a WebSocket API, written for Lambda before ES modules; it runs under
// `aws-lambda-ric`. Nothing here knows Tidegate.

"use strict";

const { ApiGatewayManagementApi } = require("@aws-sdk/client-apigatewaymanagementapi");

exports.handler = async function handler(event) {
  const { eventType, routeKey, connectionId, domainName, apiId, stage } = event.requestContext;
  if (eventType !== "MESSAGE") return { statusCode: 200 };
  const message = JSON.parse(event.body);
  if (routeKey === "greet") {
    return { statusCode: 200, body: JSON.stringify({ text: `hello ${message.name}`, connectionId }) };
  }
  const endpoint = routeKey === "announce-by-api"
    ? `https://${apiId}.execute-api.${process.env.AWS_REGION}.amazonaws.com/${stage}`
    : `https://${domainName}/${stage}`;
  const management = new ApiGatewayManagementApi({ endpoint });
  await management.postToConnection({ ConnectionId: connectionId, Data: Buffer.from(message.text) });
  return { statusCode: 200 };
};
