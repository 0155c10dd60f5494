// Leads the api's Amazon names to this machine's gateway.
//
// Node loads this file at its start, by NODE_OPTIONS. A handler that posts to
// https://{api}.execute-api.{region}.amazonaws.com then reaches the gateway, over TLS, with the
// certificate checked against that very name: only where the socket connects to is changed, below
// http, https, http2 and fetch, for CommonJS and ES modules alike. Every other name is left alone.

'use strict';

const suffix = (process.env.TIDEGATE_EXECUTE_API_SUFFIX || '').toLowerCase();
const port = Number(process.env.TIDEGATE_EXECUTE_API_PORT);

if (suffix && port) {
  const { Socket } = require('node:net');
  const connect = Socket.prototype.connect;

  const isGateway = (host) =>
    typeof host === 'string' && host.toLowerCase().replace(/\.$/, '').endsWith(suffix);

  // A copy: TLS checks the certificate against the host that the original names.
  const led = (options) =>
    options && typeof options === 'object' && !options.path && isGateway(options.host)
      ? { ...options, host: '127.0.0.1', port, lookup: undefined }
      : options;

  Socket.prototype.connect = function (...args) {
    const first = args[0];
    if (Array.isArray(first)) {
      // As net.connect calls it; the array carries a mark of Node's own.
      first[0] = led(first[0]);
    } else if (first && typeof first === 'object') {
      args[0] = led(first);
    } else if (isGateway(args[1])) {
      // (port, host, ...)
      args[0] = port;
      args[1] = '127.0.0.1';
    }
    return connect.apply(this, args);
  };
}
