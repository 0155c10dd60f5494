// A Lambda runtime client in Node, without any library. Its handler fetches `url` in each way that
// Node has, and returns the texts.

import { createRequire } from 'node:module';
import http from 'node:http';
import http2 from 'node:http2';
import { get } from 'node:https';

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true });

const text = async (stream) => {
  let all = '';
  for await (const piece of stream) all += piece;
  return all;
};

const ask = (method, path, body) =>
  new Promise((resolve, reject) => {
    const request = http.request(
      { host, port, agent, method, path: `/2018-06-01/runtime/${path}` },
      async (answer) => resolve({ headers: answer.headers, body: await text(answer) }),
    );
    request.on('error', reject);
    request.end(body);
  });

const overHttps = (get, url) =>
  new Promise((resolve, reject) => {
    get(url, (answer) => resolve(text(answer))).on('error', reject);
  });

const overHttp2 = (url) =>
  new Promise((resolve, reject) => {
    const session = http2.connect(url);
    session.on('error', reject);
    // The other side speaks HTTP/1.1 only: that it is reached, and trusted, is all there is to see.
    session.on('connect', (_, socket) => {
      resolve(socket.servername);
      session.destroy();
    });
  });

const handler = async ({ url }) => {
  const required = createRequire(import.meta.url)('https');
  return [
    await overHttps(required.get, url),
    await overHttps(get, url),
    await (await fetch(url)).text(),
    await overHttp2(url),
  ];
};

for (;;) {
  const { headers, body } = await ask('GET', 'invocation/next');
  const path = `invocation/${headers['lambda-runtime-aws-request-id']}/`;
  try {
    await ask('POST', `${path}response`, JSON.stringify(await handler(JSON.parse(body))));
  } catch (error) {
    const failure = { errorMessage: String(error), errorType: error.constructor.name };
    await ask('POST', `${path}error`, JSON.stringify(failure));
  }
}
