// The session: the management token, kept for this tab and origin. Not a cookie: those are shared by all ports of a
// host, so that the gateway's own listeners, and through them any upstream, would be sent it.

const KEY = "gatewright.token";

/** @returns {string} the token, or "" */
export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** @param {string} given */
export function signIn(given) {
  sessionStorage.setItem(KEY, given.trim());
}

export function signOut() {
  sessionStorage.removeItem(KEY);
}

/** Takes the token out of an address such as `/#token=…`, and that address out of the history. */
export function signInByAddress() {
  const found = /^#token=([^&]+)/.exec(location.hash);
  if (!found) return;
  signIn(decodeURIComponent(found[1]));
  history.replaceState(null, "", `${location.pathname}#/`);
}
