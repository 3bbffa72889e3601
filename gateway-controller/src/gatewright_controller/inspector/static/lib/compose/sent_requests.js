// Requests that were sent from this tab, the newest first, to send them again. Values that have the name of a secret are left out.

/** @typedef {import("./curl.js").Composed & {listener: string, status: number, at: string}} SentRequest */

const KEY = "gatewright.requests";
const MOST = 20;
const LONGEST_BODY = 16 * 1024;
const SECRET = /authori[sz]ation|cookie|token|secret|password|passwd|credential|session|signature|api-?_?key|^(auth|key|sig|code)$/i;

/** @returns {SentRequest[]} */
export function sentRequests() {
  try {
    const stored = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(stored) ? stored : [];
  } catch {
    return [];
  }
}

/** @param {SentRequest} sent */
export function keepSent(sent) {
  const public_ = withoutSecrets(sent);
  const others = sentRequests().filter((sent) => !same(sent, public_));
  try {
    sessionStorage.setItem(KEY, JSON.stringify([public_, ...others].slice(0, MOST)));
  } catch {
    // there is no room: what was kept before stays
  }
}

export function forgetSent() {
  sessionStorage.removeItem(KEY);
}

/**
 * @param {SentRequest} sent
 * @returns {SentRequest} with empty values in the place of secrets, and no long body
 */
function withoutSecrets(sent) {
  const [path, query] = sent.path.split(/\?(.*)/s);
  const shown = query?.split("&").map((pair) => (SECRET.test(pair.split("=")[0]) ? `${pair.split("=")[0]}=` : pair));
  return {
    ...sent,
    path: shown ? `${path}?${shown.join("&")}` : path,
    headers: sent.headers.map(([name, value]) => [name, SECRET.test(name) ? "" : value]),
    body: sent.body.length > LONGEST_BODY ? "" : sent.body,
  };
}

/** @param {SentRequest} sent @param {SentRequest} other */
function same(sent, other) {
  /** @param {SentRequest} sent */
  const of = (sent) => JSON.stringify([sent.method, sent.path, sent.host, sent.headers, sent.body, sent.listener]);
  return of(sent) === of(other);
}
