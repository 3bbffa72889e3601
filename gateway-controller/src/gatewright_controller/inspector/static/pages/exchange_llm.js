// What an exchange with a language model is: prompt and answer as text, tokens, cost, budgets, and verdicts of guards.
// The controller reads it (`GET /v1/llm-exchanges/ID`); null is what the recording does not say.

import { get } from "../lib/api.js";
import { badge, facts, table } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { amount, answerEnd, cost, missing, outcome, tokens } from "../lib/exchange/llm.js";
import { REDACTED } from "../lib/exchange/recorded.js";
import { number } from "../lib/format.js";
import { cut, visible } from "../lib/visible_text.js";

/**
 * @typedef {import("../lib/dom.js").Child} Child
 * @typedef {import("../lib/exchange/llm.js").LlmExchange} LlmExchange
 * @typedef {import("../lib/exchange/recorded.js").Exchange} Exchange
 */

const MOST_TEXT = 20_000;
const MOST_TEXTS = 200;
const MOST_ROWS = 100;
const UNKNOWN = "unknown";
/** @type {Record<string, string>} */
const VERDICTS = { pass: "good", log: "warn", redact: "warn", block: "bad" };

/**
 * The section, or null for an exchange that is none with a model.
 * @param {Exchange} exchange @param {AbortSignal} signal
 */
export async function llmOf(exchange, signal) {
  if (exchange.request.method !== "POST") return null;
  /** @type {LlmExchange | null} */
  const llm = await get(`/v1/llm-exchanges/${encodeURIComponent(exchange.id)}`, { signal });
  return llm ? el("section", { class: "llm", "aria-label": "Language model" }, sectionOf(llm, exchange)) : null;
}

/** @param {LlmExchange} llm @param {Exchange} exchange @returns {Child} */
function sectionOf(llm, exchange) {
  return [
    el("h2", null, "Language model"),
    factsOf(llm),
    llm.budgets.length ? budgetsOf(llm) : null,
    llm.verdict || llm.findings.length ? verdictsOf(llm) : null,
    el("h3", null, "Prompt"),
    promptOf(llm),
    el("h3", null, "Answer"),
    answerOf(llm, exchange),
  ];
}

/** @param {LlmExchange} llm */
function factsOf(llm) {
  const { model, answerModel, streams } = llm;
  return facts([
    ["Model", text(model) ?? unknown()],
    ["Model in the answer", answerModel !== model && text(answerModel)],
    ["Shape", llm.shape],
    ["Asked to stream", streams === null ? unknown() : streams ? "yes" : "no, whole"],
    ["Answer came", llm.answer.streamed === null ? unknown() : llm.answer.streamed ? "streamed" : "whole"],
    ...tokens(llm).map(([name, value]) => /** @type {[string, Child]} */ ([name, value ?? unknown()])),
    ["Tokens are from", { "llm-usage": "llm-usage", answer: "the recorded answer", none: "", unknown: "" }[llm.usageFrom]],
    ["Cost", cost(llm)],
    ["Outcome", outcome(llm)],
    ["Client of llm-usage", text(llm.client)],
    ["Team", text(llm.team)],
  ]);
}

/** @param {LlmExchange} llm */
function budgetsOf({ budgets }) {
  const rows = budgets.slice(0, MOST_ROWS).map(({ budget, unit, reserved, settled }) => [
    text(budget) ?? unknown(), amount(reserved, unit) ?? unknown(),
    amount(settled, unit) ?? (reserved === null ? unknown() : "not yet, or not recorded"),
  ]);
  return [el("h3", null, "Budgets"), table("Budgets", ["Budget", "Reserved", "Settled"], rows)];
}

/** @param {LlmExchange} llm */
function verdictsOf({ verdict, findings }) {
  const rows = findings.slice(0, MOST_ROWS).map(({ direction, check, rule, action, details }) => [
    text(rule) ?? unknown(), text(check), badge(visible(action), VERDICTS[action]), text(direction),
    Object.keys(details).length ? el("bdi", { class: "mono" }, visible(cut(JSON.stringify(details), MOST_TEXT))) : null,
  ]);
  return [
    el("h3", null, "Guards"),
    el("p", null, "prompt-guard: ", verdict ? badge(visible(verdict), VERDICTS[verdict]) : unknown(), findings.length ? null : ", no findings"),
    rows.length ? table("Findings of guards", ["Rule", "Check", "Action", "In the", "Details"], rows) : null,
  ];
}

/** @param {LlmExchange} llm @returns {Child} */
function promptOf({ prompt }) {
  return [
    missing(prompt.recorded, "prompt") ? quiet(missing(prompt.recorded, "prompt")) : null,
    prompt.texts.slice(0, MOST_TEXTS).map(({ role, text }) => textOf(role, text)),
    prompt.recorded === "whole" && !prompt.texts.length ? quiet("The prompt has no text.") : null,
    rest(prompt.texts.length),
    prompt.tools.length ? el("p", null, "The model may call: ", el("bdi", { class: "mono" }, visible(cut(prompt.tools.join(", "), MOST_TEXT)))) : null,
  ];
}

/** @param {LlmExchange} llm @param {Exchange} exchange @returns {Child} */
function answerOf({ answer, shape }, { answeredBy }) {
  const { recorded, texts, toolCalls, error } = answer;
  const others = answeredBy && answeredBy !== "upstream";
  return [
    others ? quiet(`The client's answer is not the model's own: it is of the ${answeredBy === "failure" ? "failure of a policy" : answeredBy}.`) : null,
    missing(recorded, "answer") ? quiet(missing(recorded, "answer")) : null,
    error ? el("p", { class: "notice bad" }, "The answer has an error: ", el("bdi", null, visible([error.type, error.code, error.message].filter(Boolean).join(", ")))) : null,
    texts.slice(0, MOST_TEXTS).map(({ kind, text }) => textOf(kind === "text" ? "assistant" : kind, text)),
    toolCalls.slice(0, MOST_TEXTS).map(({ name, arguments: values }) => textOf(`calls ${name || "a tool without a name"}`, values)),
    recorded === "whole" && !texts.length && !toolCalls.length ? quiet(shape === "embeddings" ? "Embeddings are numbers, and no text." : "The answer has no text.") : null,
    rest(Math.max(texts.length, toolCalls.length)),
    recorded === "absent" ? null : quiet(answerEnd(answer)),
  ];
}

/** A text with its lines, and what cannot be seen as escapes. @param {string} label @param {string} text */
function textOf(label, text) {
  const shown = cut(text, MOST_TEXT).split("\n").map(visible).join("\n").split(REDACTED);
  const marked = shown.flatMap((part, at) => (at ? [el("mark", { class: "redacted" }, REDACTED), part] : [part]));
  return el(
    "div", { class: "llm-text" },
    el("h4", null, el("bdi", null, visible(cut(label, 100)))),
    text ? el("pre", { tabindex: 0, role: "region", "aria-label": visible(cut(label, 100)) }, el("bdi", null, marked)) : quiet("an empty text"),
    text.length > MOST_TEXT ? quiet(`the first ${number(MOST_TEXT)} characters of ${number(text.length)}; the download has all that was recorded`) : null,
  );
}

/** @param {number} count */
function rest(count) {
  return count > MOST_TEXTS ? quiet(`and ${number(count - MOST_TEXTS)} more texts; the download has all that was recorded`) : null;
}

/** @param {string} words */
function quiet(words) {
  return el("p", { class: "quiet" }, words);
}

function unknown() {
  return el("span", { class: "quiet" }, UNKNOWN);
}

/** @param {string | null} written @returns {Child} */
function text(written) {
  return written ? el("bdi", null, visible(cut(written, 300))) : null;
}
