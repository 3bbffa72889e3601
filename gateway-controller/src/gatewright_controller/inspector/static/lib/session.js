// The session: the management token, or the JWT of a login, kept for this tab and origin. Not a cookie: those are shared
// by all ports of a host, so that the gateway's own listeners, and through them any upstream, would be sent it.

const KEY = "gatewright.token";
const LOGIN_KEY = "gatewright.token-of-login";

/** @returns {string} the token, or "" */
export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** @returns {boolean} whether the token is of a login, which ends */
export function isLogin() {
  return sessionStorage.getItem(LOGIN_KEY) !== null;
}

/** @param {string} text @param {boolean} [ofLogin] */
export function signIn(text, ofLogin = false) {
  signOut();
  sessionStorage.setItem(KEY, text.trim());
  if (ofLogin) sessionStorage.setItem(LOGIN_KEY, "1");
}

export function signOut() {
  sessionStorage.removeItem(KEY);
  sessionStorage.removeItem(LOGIN_KEY);
}

/** Takes the token out of an address such as `/#token=…`, and that address out of the history. */
export function signInByAddress() {
  const match = /^#token=([^&]+)/.exec(location.hash);
  if (!match) return;
  signIn(decodeURIComponent(match[1]));
  history.replaceState(null, "", `${location.pathname}#/`);
}
