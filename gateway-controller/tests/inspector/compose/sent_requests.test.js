import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";
import { forgetSent, keepSent, sentRequests } from "#lib/compose/sent_requests.js";

/** As much of a browser's storage as is used. */
class Storage {
  /** @type {Map<string, string>} */
  #texts = new Map();

  /** @param {string} key */
  getItem(key) {
    return this.#texts.get(key) ?? null;
  }

  /** @param {string} key @param {string} text */
  setItem(key, text) {
    if (text.length > 5_000_000) throw new Error("QuotaExceededError");
    this.#texts.set(key, text);
  }

  /** @param {string} key */
  removeItem(key) {
    this.#texts.delete(key);
  }
}

beforeEach(() => {
  Object.defineProperty(globalThis, "sessionStorage", { value: new Storage(), configurable: true });
});

const SENT = { method: "GET", path: "/items", host: "", headers: [], body: "", listener: "main", status: 200, at: "2026-11-26T17:10:51Z" };

test("the last twenty are kept, the newest first", () => {
  for (let number = 0; number < 22; number += 1) keepSent({ ...SENT, path: `/items?n=${number}` });
  assert.deepEqual(sentRequests().map(({ path }) => path), Array.from({ length: 20 }, (_, at) => `/items?n=${21 - at}`));
  forgetSent();
  assert.deepEqual(sentRequests(), []);
});

test("a request that is sent again is kept once, with its last status", () => {
  keepSent(SENT);
  keepSent({ ...SENT, path: "/others" });
  keepSent({ ...SENT, status: 404 });
  assert.deepEqual(sentRequests().map(({ path, status }) => [path, status]), [["/items", 404], ["/others", 200]]);
});

test("secrets and long bodies are not kept", () => {
  keepSent({
    ...SENT, path: "/items?page=2&access_token=planted&key=planted&a=b=c", body: "planted".repeat(10_000),
    headers: [["Authorization", "planted"], ["cookie", "planted"], ["x-api-key", "planted"], ["x-user", "ann"]],
  });
  const [kept] = sentRequests();
  assert.ok(!JSON.stringify(kept).includes("planted"));
  assert.equal(kept.path, "/items?page=2&access_token=&key=&a=b=c");
  assert.deepEqual(kept.headers, [["Authorization", ""], ["cookie", ""], ["x-api-key", ""], ["x-user", "ann"]]);
});

test("without room in the storage the requests that were kept before stay", () => {
  keepSent(SENT);
  keepSent({ ...SENT, path: `/${"x".repeat(5_000_000)}` });
  assert.deepEqual(sentRequests().map(({ path }) => path), ["/items"]);
});

test("a stored value other than a list counts as none", () => {
  for (const text of ["{", "{}", "null", '"x"']) {
    sessionStorage.setItem("gatewright.requests", text);
    assert.deepEqual(sentRequests(), []);
  }
});
