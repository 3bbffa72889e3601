// Composes a request, which the controller sends, and shows its answer.

import { get, getAll, Problem, send } from "../lib/api.js";
import { empty, heading, notice, problem } from "../lib/components.js";
import { answerView } from "../lib/compose/answer.js";
import { requestForm } from "../lib/compose/form.js";
import { apisOf, listenersOf, operationPicker } from "../lib/compose/target.js";
import { parseCurl, toCurl } from "../lib/compose/curl.js";
import { el, replace } from "../lib/dom.js";
import { isOfTheGateway } from "../lib/exchange/sender.js";
import { time } from "../lib/format.js";
import { forgetSent, keepSent, sentRequests } from "../lib/compose/sent_requests.js";

/** @typedef {import("../lib/compose/curl.js").Composed} Composed */
/** @typedef {ReturnType<typeof requestForm>} Form */

export const page = { title: "Compose", show };

/** Headers of a recorded request that belong to its connection. */
const NOT_AGAIN = /^(content-length|connection|transfer-encoding|te|upgrade|expect)$/;
const REDACTED = "[redacted]";

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, { query }, signal) {
  const [apis, listeners] = await Promise.all([getAll("/v1/apis", { signal }).then(apisOf), gateway(signal).then(listenersOf)]);
  const curl = curlText(() => toCurl(form.read(), originOf(form.read().listener, listeners)));
  const form = requestForm(listeners, () => curl.changed());
  const picker = operationPicker(apis, (chosen) => form.fill(chosen));
  const message = el("div");
  const answer = el("div");
  const sent = el("div");
  const status = el("p", { role: "status", class: "unseen" });
  const button = el("button", { type: "submit", class: "primary", title: "Ctrl+Enter" }, "Send");
  const cancel = el("button", { type: "button" }, "Cancel");
  const sending = sender(form, picker, { message, answer, status, button, cancel }, signal, () => showSent(sent, form));
  const whole = el(
    "form", { class: "card compose-request", novalidate: true, "aria-label": "Request" },
    picker.element, form.element,
    el("div", { class: "form-row" }, button, cancel, el("span", { class: "quiet" }, "or press Ctrl+Enter")),
  );
  cancel.hidden = true;
  whole.addEventListener("submit", (event) => {
    event.preventDefault();
    sending();
  });
  whole.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      sending();
    }
  });
  replace(
    root, heading("Compose"),
    listeners.length ? null : notice("warn", "The Gateway has no listener that accepts requests, so the controller cannot send any."),
    whole, status, message, answer, curl.element, pasteForm(form, message), el("h2", null, "Sent from this tab"), sent,
  );
  showSent(sent, form);
  picker.choose(query.get("api") ?? "");
  replace(message, await fromAddress(query, form, signal));
  form.path.addEventListener("paste", (event) => pasteIntoPath(event, form, message));
}

/** @param {AbortSignal} signal @returns {Promise<any>} null without a Gateway resource: each node has its own listeners */
async function gateway(signal) {
  try {
    return await get("/v1/gateway", { signal });
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

/** @param {string} name @param {import("../lib/compose/target.js").Listener[]} listeners */
function originOf(name, listeners) {
  return listeners.find((listener) => listener.name === name)?.url ?? "http://127.0.0.1:8080";
}

/**
 * Fills the form from the page's address.
 * @param {URLSearchParams} query
 * @param {Form} form
 * @param {AbortSignal} signal
 * @returns {Promise<HTMLElement | null>} a message about it
 */
async function fromAddress(query, form, signal) {
  const id = query.get("exchange");
  if (id) {
    try {
      return fillFromExchange(await get(`/v1/exchanges/${encodeURIComponent(id)}`, { signal }), form);
    } catch (error) {
      signal.throwIfAborted();
      return problem(error);
    }
  }
  /** @type {Partial<Composed>} */
  const fields = {};
  for (const name of /** @type {const} */ (["method", "path", "host", "body"])) fields[name] = query.get(name) ?? undefined;
  const headers = query.get("headers");
  if (headers) fields.headers = headers.split("\n").filter((line) => line.includes(":")).map(headerOf);
  form.fill(fields);
  return null;
}

/** @param {string} line @returns {[string, string]} */
function headerOf(line) {
  const at = line.indexOf(":");
  return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
}

/**
 * The request of a recorded exchange, as its client sent it.
 * @param {any} exchange
 * @param {Form} form
 */
function fillFromExchange({ request }, form) {
  const headers = request.headers ?? [];
  const body = request.body ?? {};
  const left = [
    ...(has(headers, "accept-encoding") ? ["accept-encoding is left out, so that the answer can be read"] : []),
    ...(body.decoded ? [`content-encoding is left out: the body was ${body.decoded}, and is sent decoded`] : []),
  ];
  const wanted = headers.filter(
    (/** @type {[string, string]} */ [name]) =>
      !NOT_AGAIN.test(name) && !isOfTheGateway(name) && name !== "accept-encoding" && !(body.decoded && name === "content-encoding"),
  );
  const secret = wanted.filter((/** @type {[string, string]} */ [, value]) => value.includes(REDACTED));
  form.fill({
    method: request.method,
    path: request.path + (request.query ? `?${request.query}` : ""),
    host: request.authority,
    headers: wanted.map((/** @type {[string, string]} */ [name, value]) => [name, value.includes(REDACTED) ? "" : value]),
    body: body.text ?? "",
  });
  const notes = [
    ...left,
    ...secret.map((/** @type {[string, string]} */ [name]) => `the value of ${name} was redacted: fill it in`),
    ...(request.query?.includes(REDACTED) || body.text?.includes(REDACTED) ? [`${REDACTED} stands in place of a secret`] : []),
    ...(body.truncated || (body.size && body.text === undefined) ? ["only a part of the body was recorded"] : []),
  ];
  return notesOf("From a recorded exchange", notes);
}

/** @param {[string, string][]} headers @param {string} wanted */
function has(headers, wanted) {
  return headers.some(([name]) => name === wanted);
}

/** @param {string} source @param {string[]} notes */
function notesOf(source, notes) {
  if (!notes.length) return notice("good", `${source}.`);
  return notice("warn", el("p", null, `${source}; please check:`), el("ul", null, notes.map((note) => el("li", null, note))));
}

/**
 * @param {Form} form
 * @param {ReturnType<typeof operationPicker>} picker
 * @param {{message: HTMLElement, answer: HTMLElement, status: HTMLElement, button: HTMLButtonElement, cancel: HTMLButtonElement}} parts
 * @param {AbortSignal} signal
 * @param {() => void} kept
 */
function sender(form, picker, { message, answer, status, button, cancel }, signal, kept) {
  /** @type {AbortController | null} */
  let underWay = null;
  cancel.addEventListener("click", () => {
    underWay?.abort(new DOMException("cancelled", "AbortError"));
    button.focus();
  });
  return async () => {
    if (underWay) return;
    const request = form.read();
    const open = picker.missing().filter((name) => request.path.includes(`{${name}}`));
    if (open.length) {
      replace(message, notice("bad", `The path has a parameter without a value: ${open.map((name) => `{${name}}`).join(", ")}.`));
      return;
    }
    underWay = new AbortController();
    cancel.hidden = false;
    button.setAttribute("aria-disabled", "true");
    replace(message);
    status.textContent = "Sending the request.";
    try {
      const { body, ...rest } = request;
      const composed = { ...rest, body: body ? { text: body } : {} };
      const response = await send("POST", "/v1/requests", composed, { signal: AbortSignal.any([signal, underWay.signal]) });
      replace(answer, answerView(response));
      status.textContent = `Answered ${response.status}.`;
      keepSent({ ...request, status: response.status, at: new Date().toISOString() });
      kept();
    } catch (error) {
      if (signal.aborted) return;
      replace(answer);
      status.textContent = "";
      replace(message, underWay.signal.aborted ? notice("info", "The request was cancelled.") : problem(error));
    } finally {
      underWay = null;
      cancel.hidden = true;
      button.removeAttribute("aria-disabled");
    }
  };
}

/** @param {() => string} command */
function curlText(command) {
  const text = el("textarea", { id: "compose-curl", rows: 3, readonly: true, spellcheck: "false", class: "mono" });
  const copyStatus = el("span", { role: "status" });
  const copy = el("button", { type: "button" }, "Copy as curl");
  copy.addEventListener("click", async () => {
    text.value = command();
    text.select();
    try {
      await navigator.clipboard.writeText(text.value);
      copyStatus.textContent = "Copied.";
    } catch {
      details.open = true;
      copyStatus.textContent = "This browser does not let pages copy: copy the command from below.";
    }
  });
  const details = el("details", null, el("summary", null, "The command"), el("label", { class: "unseen", for: "compose-curl" }, "The request as a curl command"), text);
  details.addEventListener("toggle", () => (text.value = command()));
  return {
    element: el("div", { class: "curl" }, el("div", { class: "form-row" }, copy, copyStatus), details),
    changed() {
      copyStatus.textContent = "";
      if (details.open) text.value = command();
    },
  };
}

/** @param {Form} form @param {HTMLElement} message */
function pasteForm(form, message) {
  const text = el("textarea", { id: "compose-paste", rows: 3, spellcheck: "false", class: "mono" });
  const fill = el("button", { type: "button", onclick: () => fromCurl(text.value, form, message) }, "Fill in");
  return el(
    "details", { class: "curl" },
    el("summary", null, "From a curl command"),
    el("label", { for: "compose-paste" }, "A curl command, for example from a browser's “Copy as cURL”"), text, fill,
  );
}

/** @param {ClipboardEvent} event @param {Form} form @param {HTMLElement} message */
function pasteIntoPath(event, form, message) {
  const text = event.clipboardData?.getData("text") ?? "";
  if (!/^\s*(\$\s+)?curl\s/.test(text)) return;
  event.preventDefault();
  fromCurl(text, form, message);
}

/** @param {string} text @param {Form} form @param {HTMLElement} message */
function fromCurl(text, form, message) {
  try {
    const { request, notes } = parseCurl(text);
    form.fill(request);
    replace(message, notesOf("Filled in from the command", notes));
  } catch (error) {
    replace(message, notice("bad", `The command cannot be read: ${/** @type {Error} */ (error).message}.`));
  }
}

/** @param {HTMLElement} root @param {Form} form */
function showSent(root, form) {
  const all = sentRequests();
  if (!all.length) {
    replace(root, empty("Nothing yet. The last 20 requests are kept while this tab is open, without values that have the name of a secret."));
    return;
  }
  const items = all.map((sent) => {
    const use = el("button", { type: "button", "aria-label": `Fill in ${sent.method} ${sent.path}` }, "Fill in");
    use.addEventListener("click", () => {
      form.fill(sent);
      form.path.focus();
    });
    return el("li", null, el("span", { class: "quiet" }, time(sent.at)), el("code", null, `${sent.method} ${sent.path}`), el("span", null, sent.status), use);
  });
  const forget = el("button", { type: "button" }, "Clear the list");
  forget.addEventListener("click", () => {
    forgetSent();
    showSent(root, form);
    form.path.focus();
  });
  replace(root, el("ul", { class: "sent" }, items), forget);
}
