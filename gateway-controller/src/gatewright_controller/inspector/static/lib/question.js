// A question before something is done that cannot be undone.

import { problem } from "./components.js";
import { el, replace } from "./dom.js";

/**
 * Asks in a dialog. It stays open, with the problem, where the act fails.
 * @param {string} title the question
 * @param {import("./dom.js").Child} text what follows from it
 * @param {string} button
 * @param {() => Promise<unknown>} act
 */
export function ask(title, text, button, act) {
  const message = el("div", { role: "alert" });
  const cancel = el("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = el(
    "form", null,
    el("h2", { id: "question-title" }, title), el("p", null, text), message,
    el("div", { class: "form-row" }, el("button", { type: "submit", class: "danger" }, button), cancel),
  );
  const dialog = el("dialog", { class: "sign-in", "aria-labelledby": "question-title" }, form);
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await act();
      dialog.close();
    } catch (error) {
      replace(message, problem(error));
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  cancel.focus();
}
