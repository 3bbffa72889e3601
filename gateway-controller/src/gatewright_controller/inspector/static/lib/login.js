// Logging in at the OpenID provider: the authorization code flow with PKCE (RFC 7636). The provider sends the browser
// back to this page with a code, which the controller exchanges for the token: the page asks no other server.

import { signIn } from "./session.js";

const KEY = "gatewright.login";

/** @typedef {{authorizationEndpoint: string, clientId: string, scope: string}} LoginPlace */
/** @typedef {{state: string, nonce: string, verifier: string, redirectUri: string, hash: string}} Begun `hash`: the page that is shown afterwards */

/** @returns {Promise<LoginPlace | null>} where to log in; null: this controller has no place for it, or none now */
export async function loginPlace() {
  try {
    const response = await fetch("/v1/login", { credentials: "omit" });
    const place = response.ok ? await response.json() : {};
    return place.authorizationEndpoint ? place : null;
  } catch {
    return null;
  }
}

/** Leaves the page for the provider. @param {LoginPlace} place */
export async function beginLogin(place) {
  /** @type {Begun} */
  const begun = {
    state: random(), nonce: random(), verifier: random(), hash: location.hash,
    redirectUri: `${location.origin}${location.pathname}`,
  };
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(begun.verifier));
  sessionStorage.setItem(KEY, JSON.stringify(begun));
  const address = new URL(place.authorizationEndpoint);
  const query = {
    response_type: "code", client_id: place.clientId, redirect_uri: begun.redirectUri, scope: place.scope,
    state: begun.state, nonce: begun.nonce, code_challenge: base64url(new Uint8Array(digest)), code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  location.assign(address);
}

/**
 * Signs in where the provider has sent the browser back, and takes its answer out of the address and the history.
 * @returns {Promise<string>} why the login has failed; "": it has not, or there was no answer of the provider
 */
export async function finishLogin() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has("state")) return "";
  const begun = take();
  const isOwn = begun !== null && begun.state === answer.get("state");
  history.replaceState(null, "", `${location.pathname}${(isOwn && begun.hash) || "#/"}`);
  if (!isOwn) return "This login was not begun in this tab. Log in again.";
  const code = answer.get("code");
  if (!code) return `The provider has refused the login: ${answer.get("error_description") ?? answer.get("error") ?? "it has sent no code"}.`;
  return exchange(code, begun);
}

/** @param {string} code @param {Begun} begun */
async function exchange(code, { verifier, redirectUri, nonce }) {
  const body = JSON.stringify({ code, codeVerifier: verifier, redirectUri, nonce });
  const headers = { "content-type": "application/json" };
  try {
    const response = await fetch("/v1/login", { method: "POST", body, headers, credentials: "omit" });
    const { token, detail } = await response.json();
    if (!response.ok) return `You are not logged in: ${detail}.`;
    signIn(token, true);
    return "";
  } catch {
    return "The controller does not answer. Log in again.";
  }
}

/** What `beginLogin` has kept, which is of use once. @returns {Begun | null} */
function take() {
  const kept = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  return kept === null ? null : JSON.parse(kept);
}

/** @returns {string} 43 characters that cannot be guessed */
function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
