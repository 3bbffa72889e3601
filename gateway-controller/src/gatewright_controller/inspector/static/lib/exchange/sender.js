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
  if (type !== "application/x-www-form-urlencoded") return "It is taken out whole: it cannot be read as what its content-type says, so that secrets in it could not be told apart.";
  return "It is taken out whole: its content-type says that it is a form (curl's own, unless -H content-type says another), and it is none, so that secrets in it could not be told apart. With content-type: application/json the fields of JSON are shown.";
}
