// Asks for the management token, or for a login, in a dialog over the page, so that text in forms is not lost.

import { el, replace } from "./dom.js";
import { beginLogin, loginPlace } from "./login.js";
import { isLogin, signIn, signOut, token } from "./session.js";

/** @type {Promise<boolean> | null} */
let asking = null;

/**
 * @param {string} [reason] why a login has failed
 * @returns {Promise<boolean>} true once the controller accepts a token; concurrent callers share the dialog
 */
export function askForToken(reason = "") {
  asking ??= showDialog(reason || endedSession()).finally(() => {
    asking = null;
  });
  return asking;
}

/** Why a token that was used until now is asked for again. */
function endedSession() {
  if (isLogin()) return "Your login has ended. Log in again.";
  return token() ? "The controller no longer accepts the token that was used until now: it was deleted, or has expired." : "";
}

/** @param {string} reason @returns {Promise<boolean>} */
function showDialog(reason) {
  return new Promise((resolve) => {
    const wrong = el("p", { class: "wrong", role: "alert", id: "token-wrong" });
    const input = el("input", {
      type: "password", id: "token", name: "token", autocomplete: "current-password", required: true,
      spellcheck: "false", "aria-describedby": "token-wrong token-where",
    });
    const where = el(
      "p", { id: "token-where" },
      el("code", null, "gatewright inspector"), " prints an address that signs you in. The token is in the file ",
      el("code", null, "management-token"), " of the run directory.",
    );
    const login = el("div", { class: "login" });
    const form = el(
      "form", null,
      el("h2", { id: "token-title" }, "Sign in"), login,
      el("label", { for: "token" }, "Management token"), input, wrong, where,
      el("button", { type: "submit", class: "primary" }, "Sign in"),
    );
    const dialog = el("dialog", { class: "sign-in", "aria-labelledby": "token-title" }, form);
    replace(wrong, reason);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const reason = await refusal(input.value.trim());
      replace(wrong, reason);
      if (reason) return input.select();
      signIn(input.value);
      dialog.close();
      dialog.remove();
      resolve(true);
    });
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    signOut();
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
    offerLogin(login);
  });
}

/** Shows a button, where people log in at this controller. @param {Element} place */
async function offerLogin(place) {
  const found = await loginPlace();
  if (found === null) return;
  const isSecure = window.isSecureContext; // else the browser has no digests (crypto.subtle)
  const button = el("button", { type: "button", class: "primary", disabled: !isSecure, onclick: () => beginLogin(found) }, "Log in with OpenID Connect");
  replace(place, button, isSecure ? null : el("p", null, "To log in, open this page by https."));
}

/** @param {string} token @returns {Promise<string>} why the controller does not accept it; "": it does */
async function refusal(token) {
  if (/[^\x21-\x7e]/.test(token)) return "Expected a token of printable ASCII characters, without spaces.";
  try {
    const response = await fetch("/v1/caller", { headers: { authorization: `Bearer ${token}` }, credentials: "omit" });
    if (response.status === 429) return "There were too many attempts. Try again later.";
    return response.status === 401 ? "The controller does not accept this token." : "";
  } catch {
    return "The controller does not answer.";
  }
}
