/** Which headers of a recorded request its client has sent, and which the gateway has written before any policy saw it. */

/** @typedef {import("./recorded.js").Field} Field */

/** As docs/reference/passing.md has it: whatever a client sends in their place, the gateway writes its own, or adds to it. */
const OF_THE_GATEWAY = /^(x-request-id|x-forwarded-.*|x-envoy-.*)$/;

/** @param {string} name */
export function isOfTheGateway(name) {
  return OF_THE_GATEWAY.test(name);
}

/** @param {Field[]} headers @returns {{sent: Field[], added: Field[]}} */
export function bySender(headers) {
  return { sent: headers.filter(([name]) => !isOfTheGateway(name)), added: headers.filter(([name]) => isOfTheGateway(name)) };
}

/**
 * Why the whole body of a request is redacted; "": it is not, or nothing is known of why.
 * @param {Field[]} headers
 * @param {import("./recorded.js").Body | undefined} body
 */
export function whyRedacted(headers, body) {
  if (body?.text !== "[redacted]") return "";
  const type = headers.find(([name]) => name === "content-type")?.[1].split(";")[0].trim().toLowerCase();
  if (type !== "application/x-www-form-urlencoded") return "The whole body is redacted: it cannot be parsed by its content-type, so secrets in it cannot be found.";
  return "The whole body is redacted: its content-type is a form (curl's default without -H content-type), but the body is not one, so secrets in it cannot be found. With content-type: application/json the fields of JSON are shown.";
}
