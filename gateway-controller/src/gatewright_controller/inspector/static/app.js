// The frame around the pages: menu, sign-in, theme, and the warning while the controller does not answer.

import { answers, get, NO_DATABASE, Problem } from "./lib/api.js";
import { currentCaller, haveSameRights, lack, may, readCaller, roleNames, rolesInWords } from "./lib/caller.js";
import { empty, heading, lackOfRight, problem } from "./lib/components.js";
import { el, replace } from "./lib/dom.js";
import { API, KINDS } from "./lib/kinds.js";
import { finishLogin } from "./lib/login.js";
import { match } from "./lib/router.js";
import { signInByAddress, signOut, token } from "./lib/session.js";
import { askForToken } from "./lib/sign_in.js";
import { themeSwitch } from "./lib/theme.js";
import { visible } from "./lib/visible_text.js";

/** `right`: what the page is nothing without; `open`: it needs no token. @type {import("./lib/router.js").Route[]} */
const ROUTES = [
  { pattern: "/", load: () => import("./pages/overview.js") },
  { pattern: "/exchanges", right: "exchanges:read", load: () => import("./pages/exchanges.js") },
  { pattern: "/exchanges/:id*", right: "exchanges:read", load: () => import("./pages/exchange.js") },
  { pattern: "/apis", load: () => import("./pages/apis.js") },
  { pattern: "/apis/new", right: "apis:write", load: () => import("./pages/editor.js") },
  { pattern: "/apis/:name", load: () => import("./pages/api.js") },
  { pattern: "/apis/:name/edit", right: "apis:write", load: () => import("./pages/editor.js") },
  ...historyRoutes(API),
  { pattern: "/resources", load: () => import("./pages/kinds.js") },
  ...KINDS.flatMap((kind) => [
    { pattern: patternOf(kind), right: kind.read, load: async () => ({ page: (await import("./pages/resources.js")).pageOf(kind) }) },
    { pattern: patternOf(kind, ":name"), right: kind.read, load: async () => ({ page: (await import("./pages/resource.js")).pageOf(kind) }) },
    ...historyRoutes(kind),
  ]),
  { pattern: "/policies", load: () => import("./pages/policies.js") },
  { pattern: "/policies/:name/:version", load: () => import("./pages/policy.js") },
  { pattern: "/nodes", right: "nodes:inspect", load: () => import("./pages/nodes.js") },
  { pattern: "/nodes/:id*", right: "nodes:inspect", load: () => import("./pages/node.js") },
  { pattern: "/models", right: "nodes:inspect", load: () => import("./pages/models.js") },
  { pattern: "/management", open: true, load: () => import("./pages/management.js") },
  { pattern: "/management/operations/:id", open: true, load: () => import("./pages/management_operation.js") },
  { pattern: "/management/shapes/:name", open: true, load: () => import("./pages/management_shape.js") },
  { pattern: "/compose", right: "requests:send", load: () => import("./pages/compose.js") },
  { pattern: "/access", load: () => import("./pages/access.js") },
  { pattern: "/audit", right: "audit:read", load: () => import("./pages/audit.js") },
  { pattern: "/audit/:number", right: "audit:read", load: () => import("./pages/audit_entry.js") },
  { pattern: "/tokens", right: "tokens:write", load: () => import("./pages/tokens.js") },
];
const MENU = [
  ["Overview", "/"],
  ["Exchanges", "/exchanges"],
  ["APIs", "/apis"],
  ["Resources", "/resources"],
  ["Policies", "/policies"],
  ["Nodes", "/nodes"],
  ["Compose", "/compose"],
];

const main = byId("main");
let shown = new AbortController();
let withoutDatabase = false; // as the controller answered the page's first question
let failedLogin = ""; // why the login that the browser has come back from has failed
let unanswered = false; // the page's first question had no answer: no token, or the controller was away

/** Of each write of a resource. @param {import("./lib/kinds.js").Kind} kind @returns {import("./lib/router.js").Route[]} */
function historyRoutes(kind) {
  return [
    { pattern: patternOf(kind, ":name", "history"), right: kind.read, load: async () => ({ page: (await import("./pages/history.js")).pageOf(kind) }) },
    { pattern: patternOf(kind, ":name", "history", ":revision"), right: kind.read, load: async () => ({ page: (await import("./pages/revision.js")).pageOf(kind) }) },
  ];
}

/** @param {import("./lib/kinds.js").Kind} kind @param {...string} further */
function patternOf({ place }, ...further) {
  return `/${[...place, ...further].join("/")}`;
}

async function show() {
  shown.abort(new DOMException("another page is shown", "AbortError"));
  shown = new AbortController();
  const { signal } = shown;
  unanswered = false;
  withoutDatabase = false;
  const matched = match(ROUTES, location.hash);
  markMenu();
  const root = el("div", { class: "page" });
  replace(main, root);
  if (!matched) {
    replace(root, el("h1", null, "Page not found"), el("p", null, "The menu above lists all pages."));
    setTitle("Page not found");
    return;
  }
  try {
    const { open, right, load } = matched.route;
    if (!open) await meetCaller(signal);
    const { page } = await load();
    if (signal.aborted) return;
    setTitle(page.title);
    if (right && lack(right)) replace(root, heading(page.title), lackOfRight(right));
    else await page.show(root, matched.params, signal);
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
function setTitle(title) {
  document.title = `${title} · Gatewright Inspector`;
}

/** Opens a page that the user chose, not the first one: screen readers go to it, and it is shown from its top. */
function openPage() {
  if (location.hash === "#main") return;
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
  show();
}

function markMenu() {
  const path = location.hash.replace(/^#/, "").split("?")[0] || "/";
  for (const link of byId("menu").querySelectorAll("a")) {
    const own = /** @type {string} */ (link.getAttribute("href")).slice(1);
    const isCurrent = own === "/" ? path === "/" : path === own || path.startsWith(`${own}/`);
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** @param {Event} event */
async function showAnswerStatus(event) {
  const { detail: status } = /** @type {CustomEvent<number>} */ (event);
  const silent = status === 0;
  const warning = silent ? "The controller does not answer. This page may be out of date; it updates as soon as the controller answers." : "";
  const line = byId("connection");
  if (line.textContent !== warning) line.textContent = warning;
  if (status !== 401) return;
  const reason = failedLogin;
  failedLogin = "";
  if (!(await askForToken(reason))) return;
  const before = currentCaller();
  await meetCaller().catch(() => {}); // the page's own questions have the same problem
  showTools();
  if (unanswered || !haveSameRights(before, currentCaller())) show();
}

/** Once for each token: the menu has the pages that its role may see. @param {AbortSignal} [signal] */
async function meetCaller(signal) {
  const before = currentCaller();
  await readCaller(signal);
  if (currentCaller() === before) return;
  showMenu();
  showTools();
}

function showMenu() {
  const links = MENU.filter(([, path]) => maySee(path)).map(([text, path]) => el("a", { href: `#${path}` }, text));
  replace(byId("menu"), links);
  markMenu();
}

/** @param {string} path */
function maySee(path) {
  const right = match(ROUTES, path)?.route.right;
  return !right || may(right);
}

function showTools() {
  const caller = currentCaller();
  const who = caller && el(
    "a", { class: "who", href: "#/access", title: visible(`${caller.actor}, ${rolesInWords(caller)}`) },
    el("span", { class: "unseen" }, "You are "), el("span", { class: "actor" }, el("bdi", null, visible(caller.actor)), ", "), visible(roleNames(caller)),
  );
  const leave = el("button", { type: "button", onclick: () => { signOut(); location.reload(); } }, "Sign out");
  replace(byId("tools"), who, themeSwitch(), token() ? leave : null);
}

/** @param {string} id */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** Asks the controller again after it was away or had no database, for pages that do not ask again by themselves. */
async function retry() {
  if (!byId("connection").textContent && !withoutDatabase) return;
  await get("/healthz").then(({ status }) => (unanswered || (withoutDatabase && status === "ok") ? show() : undefined), () => {});
}

signInByAddress();
failedLogin = await finishLogin();
showMenu();
showTools();
answers.addEventListener("answer", showAnswerStatus);
window.addEventListener("hashchange", () => {
  signInByAddress();
  openPage();
});
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
setInterval(retry, 3000);
show();
