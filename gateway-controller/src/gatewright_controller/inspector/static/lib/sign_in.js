// Asks for the management token, in a dialog over the page, so that text in forms is not lost.

import { el, replace } from "./dom.js";
import { signIn, signOut, token } from "./session.js";

/** @type {Promise<boolean> | null} */
let asking = null;

/** @returns {Promise<boolean>} true once the controller accepts a token; concurrent callers share the dialog */
export function askForToken() {
  asking ??= showDialog().finally(() => {
    asking = null;
  });
  return asking;
}

/** @returns {Promise<boolean>} */
function showDialog() {
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
    const form = el(
      "form", null,
      el("h2", { id: "token-title" }, "Sign in"),
      el("label", { for: "token" }, "Management token"), input, wrong, where,
      el("button", { type: "submit", class: "primary" }, "Sign in"),
    );
    const dialog = el("dialog", { class: "sign-in", "aria-labelledby": "token-title" }, form);
    if (token()) replace(wrong, "The controller no longer accepts the token that was used until now: it was deleted, or has expired.");
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
  });
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
