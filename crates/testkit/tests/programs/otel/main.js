// A service in JavaScript with OpenTelemetry's own library. It has no setting for it: the environment says it all.
const { NodeSDK } = require("@opentelemetry/sdk-node");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");

const sdk = new NodeSDK({ instrumentations: [new HttpInstrumentation()] });
sdk.start();

const http = require("node:http");
const { logs, metrics, SeverityNumber } = require("@opentelemetry/api");

const me = process.env.MADANG_SERVICE;
const trips = metrics.getMeter("trips").createCounter("trips", { description: "How many began here." });

// Asks the next stop for the rest of the way; the instrumentation passes the trace on.
function ask(url) {
  return new Promise((resolve, reject) => {
    const request = http.get(url, (answer) => {
      let body = "";
      answer.on("data", (chunk) => (body += chunk));
      answer.on("end", () => resolve({ status: answer.statusCode, body }));
    });
    request.on("error", reject);
  });
}

const server = http.createServer(async (request, response) => {
  const [, , next, ...rest] = request.url.split("/").filter(Boolean);
  trips.add(1, { to: next ?? "nowhere" });
  logs.getLogger("trips").emit({
    severityNumber: SeverityNumber.WARN,
    severityText: "WARN",
    body: `a trip by ${me}`,
    attributes: { next: next ?? "nowhere" },
  });
  const answer = next
    ? await ask([process.env[`${next.toUpperCase()}_URL`], next, "trip", ...rest].join("/"))
    : { status: 200, body: JSON.stringify({ stops: [] }) };
  const stops = answer.status === 200 ? [{ service: me }, ...JSON.parse(answer.body).stops] : [];
  response.writeHead(answer.status, { "content-type": "application/json" });
  response.end(JSON.stringify({ stops }));
});

server.listen(process.env.PORT, "127.0.0.1", () => console.log(`${me} listens`));
process.on("SIGTERM", () => server.close(() => sdk.shutdown().finally(() => process.exit(0))));
