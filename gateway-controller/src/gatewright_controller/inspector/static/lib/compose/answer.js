// The answer to a request that was composed.

import { may } from "../caller.js";
import { badge, notice, tabs, table } from "../components.js";
import { el } from "../dom.js";
import { bytes, duration } from "../format.js";
import { prettyJson } from "./json_text.js";
import { href } from "../router.js";

const SHOWN_CHARACTERS = 200_000;

/**
 * @param {any} answer of POST /v1/requests
 * @returns {HTMLElement}
 */
export function answerView(answer) {
  const kind = answer.status < 300 ? "good" : answer.status < 400 ? "busy" : answer.status < 500 ? "warn" : "bad";
  return el(
    "section", { class: "card answer", "aria-labelledby": "compose-answer" },
    el("h2", { id: "compose-answer" }, "Answer ", badge(String(answer.status), kind)),
    el("p", null, `${answer.protocol}, ${bytes(answer.body.size)} in ${duration(answer.durationMs)}, through listener ${answer.listener}`),
    answer.error ? notice("warn", `The answer is incomplete: ${answer.error}.`) : null,
    exchangeLine(answer),
    tabs("Answer", [
      ["Body", () => bodyView(answer.body)],
      [`Headers (${answer.headers.length})`, () => headersView(answer)],
    ]),
  );
}

/** @param {any} answer */
function exchangeLine({ recorded, requestId, notRecorded }) {
  if (recorded && may("exchanges:read")) {
    const link = el("a", { class: "button", href: href(["exchanges", requestId]) }, "What each policy did");
    return el("p", null, link, " ", el("code", null, requestId));
  }
  const id = requestId ? [" The request id is ", el("code", null, requestId), "."] : null;
  if (notRecorded) return notice("info", `There is no recorded exchange: ${notRecorded}.`, id);
  return requestId ? el("p", null, "Request id ", el("code", null, requestId)) : null;
}

/** @param {any} body */
function bodyView(body) {
  const cut = body.truncated ? notice("warn", "Only the beginning of the body is shown.") : null;
  if (body.size === 0) return el("p", { class: "quiet" }, "The answer has no body.");
  if (body.base64 !== undefined) return el("div", null, cut, el("p", null, "The body is not text. In base64:"), long(body.base64));
  const pretty = prettyJson(body.text);
  if (pretty === null || pretty === body.text) return el("div", null, cut, long(body.text));
  const shown = el("div", null, long(pretty));
  const raw = el("input", { type: "checkbox", id: "compose-raw" });
  raw.addEventListener("change", () => shown.replaceChildren(long(raw.checked ? body.text : pretty)));
  return el("div", null, cut, el("label", null, raw, "As received"), shown);
}

/** @param {string} text */
function long(text) {
  const part = text.slice(0, SHOWN_CHARACTERS);
  const shown = el("pre", { class: "answer-body", tabindex: 0, "aria-label": "Body of the answer" }, part);
  if (part === text) return shown;
  const more = el("button", { type: "button" }, `Show all ${text.length} characters`);
  more.addEventListener("click", () => {
    shown.textContent = text;
    more.remove();
    shown.focus();
  });
  return el("div", null, shown, more);
}

/** @param {any} answer */
function headersView({ headers, trailers }) {
  /** @param {[string, string][]} lines */
  const rows = (lines) => lines.map(([name, value]) => [el("code", null, name), el("code", null, value)]);
  return el(
    "div", null,
    table("Headers of the answer", ["Header", "Value"], rows(headers)),
    trailers ? [el("h3", null, "Trailers"), table("Trailers of the answer", ["Trailer", "Value"], rows(trailers))] : null,
  );
}
