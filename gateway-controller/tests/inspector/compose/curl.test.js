import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test from "node:test";
import { parseCurl, toCurl } from "#lib/compose/curl.js";

const EMPTY = { method: "GET", path: "/", host: "", headers: [], body: "" };
const FORM = ["content-type", "application/x-www-form-urlencoded"];

/** @type {[command: string, request: object, notes?: string[]][]} */
const COMMANDS = [
  ["curl http://127.0.0.1:8080/a", { path: "/a" }],
  ["$ curl localhost:8080", {}],
  ["curl -i 'https://shop.example/a?b=c#d'", { path: "/a?b=c", host: "shop.example" }],
  ["curl http://127.0.0.1/ -H 'Host: a.example' -H x-a:1 -H 'x-b;' -H 'x-c:'", { host: "a.example", headers: [["x-a", "1"], ["x-b", ""]] }],
  ["curl -XPUT -sSL http://localhost/a -d 'a=b' -dc=d", { method: "PUT", path: "/a", body: "a=b&c=d", headers: [FORM] }],
  ["curl http://localhost/a --data-raw '@no file' ", { method: "POST", path: "/a", body: "@no file", headers: [FORM] }],
  ["curl -G http://localhost/a?x=1 -d a=b --data-urlencode 'c=d e'", { path: "/a?x=1&a=b&c=d%20e" }],
  ["curl --json '{\"a\": 1}' http://localhost/", {
    method: "POST", body: '{"a": 1}', headers: [["content-type", "application/json"], ["accept", "application/json"]],
  }],
  ["curl -u 'ann:pä' http://localhost/", { headers: [["authorization", "Basic YW5uOnDDpA=="]] }],
  ["curl -b 'a=b; c=d' -A me -e http://x/ http://localhost/", {
    headers: [["cookie", "a=b; c=d"], ["user-agent", "me"], ["referer", "http://x/"]],
  }],
  ["curl -I http://localhost/", { method: "HEAD" }],
  ["curl -o /dev/null -w '%{http_code}' -m 5 http://localhost/x", { path: "/x" }],
  ['curl "http://localhost/a b\\"c" -H "x-a: $HOME \\$5"', { path: '/a%20b"c', headers: [["x-a", "$HOME $5"]] }],
  ["curl http://localhost/ --data-raw $'it\\'s\\n\\u00fc \\x41'", { method: "POST", body: "it's\nü A", headers: [FORM] }],
  ["curl \\\n 'http://localhost/a' -X \\\r\n  'PATCH' -H \\\n 'x-a: 1'", { method: "PATCH", path: "/a", headers: [["x-a", "1"]] }],
  ["curl http://localhost/ü", { path: "/%C3%BC" }],
  ["curl http://localhost/ -H \"x-a: it's\" -H 'x-b: '\"'\"'q'", { headers: [["x-a", "it's"], ["x-b", "'q"]] }],
  ["curl http://localhost/ -H 'Accept-Encoding: gzip' -H 'connection: close'", {}, ["accept-encoding is left out", "connection is left out"]],
  ["curl http://localhost/ -d @body.json", {}, ["the content of the file body.json is left out"]],
  ["curl http://localhost/ -F a=@b", {}, ["-F is left out: multipart forms cannot be composed here"]],
  ["curl http://localhost/ -b jar.txt --cert c.pem", {}, ["the cookies of the file jar.txt are left out", "--cert is left out"]],
];

for (const [command, request, notes = []] of COMMANDS) {
  test(`read: ${JSON.stringify(command)}`, () => {
    assert.deepEqual(parseCurl(command), { request: { ...EMPTY, ...request }, notes });
  });
}

for (const [command, message] of [
  ["wget http://localhost/", "expected a command that begins with curl"],
  ["", "expected a command that begins with curl"],
  ["curl -i", "expected a URL in the command, got none"],
  ["curl ftp://localhost/", "expected a URL of http or https, got ftp:"],
]) {
  test(`refused: ${JSON.stringify(command)}`, () => {
    assert.throws(() => parseCurl(command), { message });
  });
}

for (const text of ["'", '"', "\\", "$'", "curl '", "curl -H", "curl -", "curl --", "curl $'\\u", "curl -X"]) {
  test(`a command that is cut off is read, or refused in words: ${JSON.stringify(text)}`, () => {
    for (const command of [text, `${text} http://localhost/`]) {
      try {
        assert.equal(typeof parseCurl(command).request.path, "string");
      } catch (error) {
        assert.match(String(error), /^Error: expected a /);
      }
    }
  });
}

const COMPOSED = /** @type {[string, string][]} */ ([["x-a", "1 'two' $HOME"], ["x-empty", ""]]);

for (const request of [
  { ...EMPTY, path: "/orders?a=it's" },
  { ...EMPTY, method: "HEAD", host: "shop.example" },
  { ...EMPTY, method: "DELETE", headers: COMPOSED },
  { ...EMPTY, method: "POST", headers: COMPOSED, body: 'it\'s\n$(id) "x" ü' },
  { ...EMPTY, method: "PUT", headers: [FORM], body: "a=b" },
]) {
  test(`written for a shell: ${request.method} ${request.path}`, () => {
    const command = toCurl(/** @type {import("#lib/compose/curl.js").Composed} */ (request), "http://127.0.0.1:8080");
    assert.deepEqual(parseCurl(command), { request, notes: [] });
    const words = execFileSync("sh", ["-c", `curl() { printf '%s\\0' "$@"; }; ${command}`], { encoding: "utf8" }).split("\0");
    assert.ok(words.includes(`http://127.0.0.1:8080${request.path}`));
    if (request.body) assert.equal(words[words.indexOf("--data-raw") + 1], request.body);
    for (const [name, value] of request.headers) assert.ok(words.includes(value ? `${name}: ${value}` : `${name};`));
  });
}
