import assert from "node:assert/strict";
import test from "node:test";
import { bySender, whyRedacted } from "#lib/exchange/sender.js";

/** @typedef {import("#lib/exchange/recorded.js").Field} Field */

/** @type {Field[]} */
const HEADERS = [
  ["accept", "*/*"], ["x-forwarded-for", "10.0.0.1"], ["x-forwarded-proto", "http"], ["x-request-id", "7"],
  ["x-envoy-external-address", "127.0.0.1"], ["x-tenant", "blue"],
];

test("headers of the gateway are not shown as sent by the client", () => {
  const { sent, added } = bySender(HEADERS);
  assert.deepEqual(sent.map(([name]) => name), ["accept", "x-tenant"]);
  assert.deepEqual(added.map(([name]) => name), ["x-forwarded-for", "x-forwarded-proto", "x-request-id", "x-envoy-external-address"]);
});

test("a redacted body has the reason, and a form the cure", () => {
  const body = { size: 9, text: "[redacted]" };
  assert.match(whyRedacted([["content-type", "application/x-www-form-urlencoded; charset=utf-8"]], body), /is a form .* -H content-type.*application\/json/);
  assert.match(whyRedacted([["content-type", "multipart/form-data"]], body), /cannot be parsed by its content-type/);
  assert.equal(whyRedacted([], { size: 9, text: "a=1&token=[redacted]" }), "");
  assert.equal(whyRedacted([], undefined), "");
});
