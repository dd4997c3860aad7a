// Lets a client that knows only its provider's real address reach the simulator that stands for it (node --require).
//
// The client stays as it is: only its sockets lead elsewhere. TLS still checks the name that the client asked for.
const net = require('net');

const PORTS = {
  'autodiscover.example.com': 9443,
  'login.microsoftonline.com': 9444,
  'api.push.apple.com': 9445,
  'api.sandbox.push.apple.com': 9448,
  'fcm.googleapis.com': 9446,
  'oauth2.googleapis.com': 9446,
};
const LOCAL = new Set(['localhost', '127.0.0.1', '::1']);

function elsewhere(options) {
  if (!options || typeof options !== 'object' || options.path) return options;
  const host = options.host || 'localhost';
  if (PORTS[host]) return { ...options, host: '127.0.0.1', port: PORTS[host] };
  if (!LOCAL.has(host)) throw new Error(`${host} is not simulated`);
  return options;
}

const real = net.Socket.prototype.connect;
net.Socket.prototype.connect = function connect(...args) {
  if (Array.isArray(args[0])) {
    // Arguments that node has put in order already: a list with marks of its own.
    const list = args[0].slice();
    for (const mark of Object.getOwnPropertySymbols(args[0])) list[mark] = args[0][mark];
    list[0] = elsewhere(list[0]);
    args[0] = list;
  } else {
    args[0] = elsewhere(args[0]);
  }
  return real.apply(this, args);
};
