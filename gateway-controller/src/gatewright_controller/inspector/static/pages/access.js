// Who is signed in, and what they may do.

import { currentCaller, listedRights, may, purpose, rolesInWords } from "../lib/caller.js";
import { facts, heading } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { visible } from "../lib/visible_text.js";

export const page = { title: "Access", show };

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root) {
  const caller = currentCaller();
  if (!caller) return;
  const rights = listedRights(caller).map((right) => el("li", null, `${purpose(right)} `, el("code", null, right)));
  root.append(
    heading(
      "Access",
      may("tokens:write") && el("a", { class: "button", href: "#/tokens" }, "Tokens"),
      may("audit:read") && el("a", { class: "button", href: "#/audit" }, "Audit log"),
    ),
    facts([
      ["You are", el("bdi", null, visible(caller.actor))],
      ["Your role", visible(rolesInWords(caller))],
    ]),
    el("h2", null, "What you may do"),
    rights.length ? el("ul", null, rights) : el("p", null, "Nothing here."),
  );
}
