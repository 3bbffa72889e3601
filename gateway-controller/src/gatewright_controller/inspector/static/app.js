// The frame around the pages: menu, sign-in, theme, and what is said when the controller does not answer.

import { answers, get, NO_DATABASE, Problem } from "./lib/api.js";
import { empty, problem } from "./lib/components.js";
import { el, replace } from "./lib/dom.js";
import { match } from "./lib/router.js";
import { signInByAddress, signOut, token } from "./lib/session.js";
import { askForToken } from "./lib/sign_in.js";
import { themeSwitch } from "./lib/theme.js";

/** @type {import("./lib/router.js").Route[]} */
const ROUTES = [
  { pattern: "/", load: () => import("./pages/overview.js") },
  { pattern: "/exchanges", load: () => import("./pages/exchanges.js") },
  { pattern: "/exchanges/:id*", load: () => import("./pages/exchange.js") },
  { pattern: "/apis", load: () => import("./pages/apis.js") },
  { pattern: "/apis/new", load: () => import("./pages/editor.js") },
  { pattern: "/apis/:name", load: () => import("./pages/api.js") },
  { pattern: "/apis/:name/edit", load: () => import("./pages/editor.js") },
  { pattern: "/policies", load: () => import("./pages/policies.js") },
  { pattern: "/policies/:name/:version", load: () => import("./pages/policy.js") },
  { pattern: "/nodes", load: () => import("./pages/nodes.js") },
  { pattern: "/nodes/:id*", load: () => import("./pages/node.js") },
  { pattern: "/compose", load: () => import("./pages/compose.js") },
];
const MENU = [
  ["Overview", "/"],
  ["Exchanges", "/exchanges"],
  ["APIs", "/apis"],
  ["Policies", "/policies"],
  ["Nodes", "/nodes"],
  ["Compose", "/compose"],
];

const main = found("main");
let shown = new AbortController();
let withoutDatabase = false; // as the controller answered what the page asked for first
let unanswered = false; // the page's first question had no answer: no token, or the controller was away

async function show() {
  shown.abort(new DOMException("another page is shown", "AbortError"));
  shown = new AbortController();
  const { signal } = shown;
  unanswered = false;
  withoutDatabase = false;
  const found = match(ROUTES, location.hash);
  markMenu();
  const root = el("div", { class: "page" });
  replace(main, root);
  if (!found) {
    replace(root, el("h1", null, "Page not found"), el("p", null, "The menu above lists all pages."));
    named("Page not found");
    return;
  }
  try {
    const { page } = await found.route.load();
    if (signal.aborted) return;
    named(page.title);
    await page.show(root, found.params, signal);
  } catch (error) {
    if (signal.aborted) return;
    unanswered = error instanceof Problem && [0, 401].includes(error.status);
    withoutDatabase = error instanceof Problem && error.type === NO_DATABASE;
    if (!(error instanceof Problem)) console.error(error);
    if (error instanceof Problem && error.status === 401) replace(root, empty("You are not signed in."));
    else root.append(problem(error));
  }
}

/** @param {string} title */
function named(title) {
  document.title = `${title} · Gatewright Inspector`;
}

/** A page that was chosen, not the first one: screen readers go to it, and it begins at its top. */
function chosen() {
  if (location.hash === "#main") return;
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
  show();
}

function markMenu() {
  const path = location.hash.replace(/^#/, "").split("?")[0] || "/";
  for (const link of found("menu").querySelectorAll("a")) {
    const own = /** @type {string} */ (link.getAttribute("href")).slice(1);
    const here = own === "/" ? path === "/" : path === own || path.startsWith(`${own}/`);
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** @param {Event} event */
async function answered(event) {
  const { detail: status } = /** @type {CustomEvent<number>} */ (event);
  const silent = status === 0;
  const now = silent ? "The controller does not answer. This page may be out of date; it updates as soon as the controller answers." : "";
  const line = found("connection");
  if (line.textContent !== now) line.textContent = now;
  if (status !== 401) return;
  if (await askForToken()) {
    showTools();
    if (unanswered) show();
  }
}

function showTools() {
  const leave = el("button", { type: "button", onclick: () => { signOut(); location.reload(); } }, "Sign out");
  replace(found("tools"), themeSwitch(), token() ? leave : null);
}

/** @param {string} id */
function found(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** Where the controller was away, or had no database, and nothing on the page asks again by itself. */
async function look() {
  if (!found("connection").textContent && !withoutDatabase) return;
  await get("/healthz").then(({ status }) => (unanswered || (withoutDatabase && status === "ok") ? show() : undefined), () => {});
}

signInByAddress();
replace(found("menu"), MENU.map(([text, path]) => el("a", { href: `#${path}` }, text)));
showTools();
answers.addEventListener("answer", answered);
window.addEventListener("hashchange", () => {
  signInByAddress();
  chosen();
});
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
setInterval(look, 3000);
show();
