import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test from "node:test";
import { curl } from "#lib/exchange/curl.js";
import { read } from "#lib/exchange/recorded.js";

/** @param {object} request */
function commandFor(request) {
  return curl(read({ version: 1, id: "i", request: { scheme: "http", authority: "a.test", path: "/", headers: [], ...request } }));
}

/** The arguments that a shell would pass to curl. @param {string} command */
function wordsOf(command) {
  return execFileSync("bash", ["-c", `curl() { printf '%s\\0' "$@"; }; ${command}`], { encoding: "utf8" }).split("\0").slice(0, -1);
}

test("the command sends the client's request when a shell runs it", () => {
  const text = 'it\'s $HOME, `id` and "more"\n\x1b[31m end\t\\n';
  const { command, left } = commandFor({
    method: "POST", path: "/x/%2e%2e/y", query: "q=[1]{2}'&r=%20", body: { size: 40, text },
    headers: [
      ["x-quoted", "a'b\"c"], ["x-empty", ""], ["content-type", "text/plain"], ["host", "a.test"], ["x-request-id", "7"],
      ["x-envoy-attempt", "1"], [":path", "/x"],
    ],
  });
  assert.deepEqual(left, []);
  assert.deepEqual(wordsOf(command), [
    "-i", "-g", "--path-as-is", "-X", "POST", "http://a.test/x/%2e%2e/y?q=[1]{2}'&r=%20", "-H", "x-quoted: a'b\"c",
    "-H", "x-empty;", "-H", "content-type: text/plain", "--data-raw", text,
  ]);
});

test("a body without a type is sent without one", () => {
  const { command } = commandFor({ method: "PUT", body: { size: 1, text: "x" } });
  assert.deepEqual(wordsOf(command).slice(-4), ["-H", "content-type:", "--data-raw", "x"]);
  assert.deepEqual(wordsOf(commandFor({ method: "GET" }).command), ["-i", "-g", "--path-as-is", "http://a.test/"]);
});

const SECRET = "[redacted]";
/** @type {[request: object, left: string][]} */
const LEFT_OUT = [
  [{ headers: [["cookie", `a=${SECRET}`]] }, "header cookie, which is redacted"],
  [{ query: `token=${SECRET}&page=2` }, "values of the query, which are redacted"],
  [{ body: { size: 9, text: `{"a":"${SECRET}"}` } }, "the body, which has redacted values"],
  [{ body: { size: 9, base64: "AAEC" } }, "the body, which is not recorded as it was sent"],
  [{ body: { size: 9, text: "begins", truncated: true } }, "the body, which is not recorded as it was sent"],
  [{ body: { size: 9, text: "x", decoded: "gzip" } }, "the body, which is not recorded as it was sent"],
];

for (const [request, reason] of LEFT_OUT) {
  test(`left out: ${reason}: ${JSON.stringify(request)}`, () => {
    const { command, left } = commandFor({ method: "POST", ...request });
    assert.deepEqual(left, [reason]);
    assert.ok(!command.includes(SECRET));
    assert.ok(!command.includes("--data-raw"));
  });
}
