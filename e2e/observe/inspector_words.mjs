// The Inspector's texts about a controller and its nodes, by its own modules: what needs attention, and exchanges.
// Reads its task from standard input: {"origin": …, "token": …, "ids": […]}. Answers on standard output.

import { readFileSync } from "node:fs";

const LIB = "../../gateway-controller/src/gatewright_controller/inspector/static/lib";
const { origin, token, ids } = JSON.parse(readFileSync(0, "utf8"));
const ask = globalThis.fetch;
globalThis.sessionStorage = { getItem: () => token };
globalThis.fetch = (path, options) => ask(new URL(path, origin), options);

const { get, Problem } = await import(`${LIB}/api.js`);
const { FAILED, read } = await import(`${LIB}/exchange/recorded.js`);
const { fault, lastWith, verdict } = await import(`${LIB}/exchange/verdict.js`);
const { askNodes } = await import(`${LIB}/nodes.js`);
const { troubles } = await import(`${LIB}/troubles.js`);
const { signal } = new AbortController();

/** As the overview asks. */
async function attention() {
  const wanted = { stats: true, metrics: () => true, notes: true };
  const [{ apis }, reports] = await Promise.all([get("/v1/apis", { signal }), askNodes(signal, wanted)]);
  return troubles(apis, reports);
}

/** As the page of an exchange asks. */
async function explained(id) {
  const exchange = read(await get(`/v1/exchanges/${encodeURIComponent(id)}`, { signal }));
  const { cause } = exchange;
  const failure = lastWith(exchange, FAILED)?.failure;
  const place = failure?.file ? `${failure.file}:${failure.line}` : "";
  return { verdict: verdict(exchange), fault: cause ? fault(cause) : "", cure: cause?.cure ?? "", place };
}

try {
  const [needs, exchanges] = await Promise.all([attention(), Promise.all(ids.map(explained))]);
  console.log(JSON.stringify({ troubles: needs, exchanges, problem: "" }));
} catch (error) {
  if (!(error instanceof Problem)) throw error;
  console.log(JSON.stringify({ troubles: [], exchanges: [], problem: error.detail }));
}
