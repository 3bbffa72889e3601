// The session: the management token, kept for this tab and origin. Not a cookie: those are shared by all ports of a
// host, so that the gateway's own listeners, and through them any upstream, would be sent it.

const KEY = "gatewright.token";

/** @returns {string} the token, or "" */
export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** @param {string} text */
export function signIn(text) {
  sessionStorage.setItem(KEY, text.trim());
}

export function signOut() {
  sessionStorage.removeItem(KEY);
}

/** Takes the token out of an address such as `/#token=…`, and that address out of the history. */
export function signInByAddress() {
  const match = /^#token=([^&]+)/.exec(location.hash);
  if (!match) return;
  signIn(decodeURIComponent(match[1]));
  history.replaceState(null, "", `${location.pathname}#/`);
}
