// Runs the public tests for caches against a base URL, all at once, and says by test what came of it.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , folder, base, only] = process.argv;
const of = (file) => import(pathToFileURL(`${folder}/node_modules/http-cache-tests/${file}`));
const fetch = createRequire(`${folder}/package.json`)("node-fetch");
const { runTests, getResults } = await of("client/runner.mjs");
const suites = [...(await of("tests/index.mjs")).default, (await of("tests/surrogate-control.mjs")).default];
const chosen = suites.map((suite) => ({
  ...suite,
  tests: suite.tests.filter((test) => !only || test.id === only).map((test) => ({ ...test, dump: Boolean(only) })),
}));
await runTests(chosen, fetch, false, base, 1000);
for (const [id, result] of Object.entries(getResults())) {
  process.stdout.write(`${id}\t${result === true ? "pass" : result.join(": ")}\n`);
}
