// A stop on the trip, in JavaScript on Node: no package but Node's own.
const http = require("node:http");

const me = "node";
const passedOn = ["traceparent", "tracestate", "x-request-id", "madang-timeout", "madang-principal"];

// The stops after this one: the next is where its variable says, and it is asked for the rest.
async function onward(stops, headers) {
  if (stops.length === 0) return [];
  const [next, ...rest] = stops;
  const url = process.env[`${next.toUpperCase()}_URL`];
  if (!url) throw Object.assign(new Error(`${me} declares no calls to ${next}`), { status: 404 });
  const sent = Object.fromEntries(passedOn.filter((name) => headers[name]).map((name) => [name, headers[name]]));
  const answer = await fetch([url, next, "trip", ...rest].join("/"), { headers: sent });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail ?? body.error), { status: answer.status });
  return body.stops;
}

const server = http.createServer(async (request, response) => {
  const say = (status, body) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body) + "\n");
  };
  const [first, second, ...stops] = request.url.split("?")[0].split("/").filter(Boolean);
  if (first === "healthz") return say(200, { ready: true });
  if (first !== me || second !== "trip") return say(404, { error: `ask for /${me}/trip` });
  try {
    const here = { service: me, language: `JavaScript, Node ${process.versions.node}` };
    say(200, { stops: [here, ...(await onward(stops, request.headers))] });
  } catch (error) {
    say(error.status ?? 502, { error: `${me}: ${error.message}` });
  }
});

server.listen(process.env.PORT, "127.0.0.1", () => console.log(`${me} listens on ${process.env.PORT}`));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
