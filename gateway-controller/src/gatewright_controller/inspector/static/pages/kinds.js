// What kinds of resources there are beside APIs.

import { may } from "../lib/caller.js";
import { heading, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { KINDS } from "../lib/kinds.js";
import { href } from "../lib/router.js";

export const page = { title: "Resources", show };

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root) {
  const kinds = KINDS.filter(({ read }) => may(read));
  const rows = kinds.map(({ title, place, words }) => [el("a", { href: href(place) }, title), words]);
  replace(
    root, heading("Resources"),
    el("p", { class: "quiet" }, "What stands in documents beside APIs. They are written with ", el("code", null, "gatewright apply"), "."),
    rows.length ? table("Kinds of resources", ["Kind", "What one is"], rows) : el("p", null, "Your role may see none of them."),
  );
}
