// The server of the public tests for caches, on a free port of loopback, which it says.

import http from "node:http";
import { pathToFileURL } from "node:url";

const of = (file) => import(pathToFileURL(`${process.argv[2]}/node_modules/http-cache-tests/server/${file}`));
const handlers = {
  config: (await of("handle-config.mjs")).default,
  state: (await of("handle-state.mjs")).default,
  test: (await of("handle-test.mjs")).default,
};

const server = http.createServer((request, response) => {
  const [, what, ...rest] = new URL(request.url, "http://localhost").pathname.split("/");
  const handle = handlers[what];
  if (handle) return handle(rest, request, response);
  response.writeHead(404).end();
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
