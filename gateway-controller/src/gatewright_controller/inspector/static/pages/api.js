// One API: its state on the nodes, and the policies and upstreams of each operation.

import { get, send } from "../lib/api.js";
import { may } from "../lib/caller.js";
import { badge, facts, heading, lackOfRight, notice, problem, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { live } from "../lib/live.js";
import { askNodes } from "../lib/nodes.js";
import { upstreamNotes } from "../lib/notes.js";
import { href } from "../lib/router.js";
import { contextOf, stateOf } from "./apis.js";

export const page = { title: "API", show };

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, { name }, signal) {
  const path = `/v1/apis/${encodeURIComponent(name)}`;
  /** @type {number | undefined} */
  let revision;
  const region = el("div", null, el("p", { class: "quiet" }, "Loading …"));
  const asYaml = el("details", { class: "api-yaml" }, el("summary", null, "As YAML"));
  const yaml = async () => {
    if (!asYaml.open) return;
    const text = await get(path, { accept: "application/yaml", signal });
    replace(asYaml, el("summary", null, "As YAML"), el("pre", { tabindex: 0, "aria-label": "The API as YAML" }, text));
  };
  asYaml.addEventListener("toggle", () => yaml().catch(() => {}));
  const confirm = () => askToDelete(name, path, revision);
  replace(
    root,
    heading(
      name,
      may("apis:write") && el("a", { class: "button primary", href: href(["apis", name, "edit"]) }, "Edit"),
      el("a", { class: "button", href: href(["apis", name, "history"]) }, "History"),
      may("exchanges:read") && el("a", { class: "button", href: href(["exchanges"], { api: name }) }, "Exchanges"),
      may("apis:write") && el("button", { type: "button", class: "danger", onclick: confirm }, "Delete …"),
    ),
    lackOfRight("apis:write"),
    region,
    asYaml,
  );
  const load = async () => {
    const [api, effective, reports] = await Promise.all([
      get(path, { signal }), get(`${path}/effective`, { signal }), askNodes(signal, { notes: true }),
    ]);
    return { api, effective, note: upstreamNotes(reports).get(name) ?? "" };
  };
  await live(2, region, load, ({ api, effective, note }) => {
    if (revision !== api.status.revision) yaml().catch(() => {});
    revision = api.status.revision;
    return described(api, effective, note);
  }, signal);
}

/** @param {any} api @param {any} effective with its Defaults @param {string} note of its upstreams */
function described({ metadata, spec, status }, effective, note) {
  const hosts = spec.hosts?.length ? spec.hosts.join(", ") : "every host";
  return [
    el("div", null, stateOf(metadata.name, status, new Map(note ? [[metadata.name, note]] : []))),
    facts([
      ["Display name", spec.displayName !== metadata.name && spec.displayName],
      ["Context", el("code", null, contextOf(spec))],
      ["Hosts", hosts],
      ["Attached to", spec.attachTo?.join(", ")],
      ["Version", spec.version],
      ["Revision", status.revision],
      ["Created", dateTime(status.createdAt)],
      ["Written", dateTime(status.updatedAt)],
    ]),
    el("h2", null, "Nodes"),
    nodeStates(status.nodes),
    el("h2", null, "Operations"),
    operations(metadata.name, effective.spec, effective.status.policies),
    ...settingsTable(effective.status),
    el("h2", null, "Upstreams"),
    table("Upstreams", ["Pool", "Targets", "Settings"], Object.entries(spec.upstream ?? {}).map(pool)),
  ];
}

/**
 * The state of an API on each node.
 * @param {any[]} nodes of its status
 */
export function nodeStates(nodes) {
  if (!nodes.length) return notice("warn", "No node is connected, so the API is not served.");
  const rows = nodes.map(({ node, state, reason }) => [
    may("nodes:inspect") ? el("a", { href: href(["nodes", node]) }, node) : node, badge(state), el("span", { class: "reason" }, reason),
  ]);
  return table("Nodes", ["Node", "State", "Reason"], rows);
}

/**
 * What Defaults or the API say of settings; nothing where neither does.
 * @param {any} status of the effective API
 */
function settingsTable({ settings }) {
  if (!settings.length) return [];
  const rows = settings.map((/** @type {any} */ setting) => [
    setting.name, el("code", null, plain(setting.value)), settingSource(setting),
  ]);
  return [el("h2", null, "Settings"), table("Settings", ["Setting", "Value", "From"], rows)];
}

/** @param {any} setting in the words of `gatewright explain --api` */
function settingSource({ defaults, enforced, overruled }) {
  const source = defaults ? `Defaults ${defaults}` : "the API";
  const enforcing = enforced ? ", enforced" : "";
  return source + enforcing + (overruled === undefined ? "" : `: the API's ${plain(overruled)} does not count`);
}

/** @param {string} name @param {any} spec with Defaults @param {any[]} policies of the effective API's status */
function operations(name, spec, policies) {
  const running = new Map(policies.map((policy) => [policy.field, policy]));
  /** @type {any[][]} */
  const rows = spec.operations.map((/** @type {any} */ operation, /** @type {number} */ index) => {
    const inner = chain(`spec.operations[${index}].policies`, operation.policies, running, "operation");
    const all = [...chain("spec.policies", spec.policies, running, "API"), ...inner];
    return [
      [el("code", null, `${operation.method} ${operation.path}`), matches(operation)],
      all.length ? el("ol", { class: "chain" }, all.map((policy) => el("li", null, policy))) : el("span", { class: "quiet" }, "none"),
      destination(operation, spec),
    ];
  });
  return [
    el("p", { class: "quiet" }, "A request passes the policies of the API, then those of the operation; the response passes them in reverse order."),
    table(`Operations of ${name}`, ["Operation", "Policies, in order", "Destination"], rows),
  ];
}

/**
 * @param {string} field
 * @param {any[] | undefined} policies
 * @param {Map<string, any>} running by field
 * @param {string} level
 */
function chain(field, policies, running, level) {
  return (policies ?? []).map((policy, index) => {
    const { version = policy.version, defaults } = running.get(`${field}[${index}]`) ?? {};
    const requested = version === policy.version ? "" : `, requested as ${policy.version}`;
    return [
      el("a", { href: href(["policies", policy.name, version]) }, `${policy.name} ${version}`),
      el("span", { class: "quiet" }, ` (${defaults ? `Defaults ${defaults}` : level}${requested}${settings(policy)})`),
    ];
  });
}

/** @param {any} attachment */
function settings(attachment) {
  const { name, version, params, ...others } = attachment;
  return Object.entries(others).map(([key, value]) => `, ${key} ${plain(value)}`).join("");
}

/** @param {any} operation what a request must have beside method and path */
function matches(operation) {
  const all = [...(operation.headers ?? []).map(headerText), ...(operation.query ?? []).map(queryText)];
  return all.map((text) => el("div", { class: "quiet" }, text));
}

/** @param {any} match */
function headerText(match) {
  return `header ${matchText(match)}`;
}

/** @param {any} match */
function queryText(match) {
  return `query ${matchText(match)}`;
}

/** @param {any} match */
function matchText({ name, ...how }) {
  return [name, ...Object.entries(how).map(([key, value]) => `${key} ${plain(value)}`)].join(" ");
}

/** @param {any} operation @param {any} spec */
function destination(operation, spec) {
  if (operation.answer) return `answers ${operation.answer.status ?? ""}`;
  if (operation.redirect) return "redirects";
  if (spec.attachTo?.length) return "as the attached Envoy sends it";
  if (operation.upstream) return `pool ${operation.upstream}`;
  const split = operation.split ?? spec.split;
  if (split) return split.map((/** @type {any} */ share) => `pool ${share.upstream} (weight ${share.weight})`).join(", ");
  return "pool main";
}

/** @param {[string, any]} entry */
function pool([name, upstream]) {
  const { url, targets, ...others } = upstream;
  const urls = url ? [url] : (targets ?? []).map((/** @type {any} */ target) => target.url);
  const settings = Object.entries(others).map(([key, value]) => el("div", null, `${key}: `, el("code", null, plain(value))));
  return [name, urls.map((/** @type {string} */ text) => el("div", null, el("code", null, text))), settings];
}

/** @param {any} value */
function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** @param {string} name @param {string} path @param {number | undefined} revision of the API that is shown */
function askToDelete(name, path, revision) {
  const message = el("div", { role: "alert", id: "delete-message" });
  const input = el("input", { id: "delete-name", autocomplete: "off", spellcheck: "false", "aria-describedby": "delete-message" });
  const cancel = el("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = el(
    "form", null,
    el("h2", { id: "delete-title" }, `Delete ${name}?`),
    el("p", null, "Requests to it are answered 404 as soon as the nodes have removed it."),
    el("label", { for: "delete-name" }, `Type ${name} to delete it`), input, message,
    el("div", { class: "form-row" }, el("button", { type: "submit", class: "danger" }, "Delete"), cancel),
  );
  const dialog = el("dialog", { class: "sign-in", "aria-labelledby": "delete-title" }, form);
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (input.value.trim() !== name) {
      replace(message, el("p", { class: "wrong" }, `Expected ${name}, got ${input.value.trim() || "nothing"}.`));
      input.select();
      return;
    }
    try {
      const headers = /** @type {Record<string, string>} */ (revision ? { "if-match": `"${revision}"` } : {});
      await send("DELETE", `${path}?wait=15`, undefined, { headers });
      dialog.close();
      location.hash = href(["apis"]);
    } catch (error) {
      replace(message, problem(error));
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  input.focus();
}
