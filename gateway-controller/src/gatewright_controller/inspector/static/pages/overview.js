// What there is, and what needs attention first.

import { get } from "../lib/api.js";
import { badge, empty, heading, table } from "../lib/components.js";
import { replace } from "../lib/dom.js";
import { poll } from "../lib/poll.js";

export const page = { title: "Overview", show };

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, _, signal) {
  await poll(3, async () => {
    const [{ apis }, { nodes }] = await Promise.all([get("/v1/apis", { signal }), get("/v1/nodes", { signal })]);
    /** @type {any[][]} */
    const rows = apis.map((/** @type {any} */ api) => [api.metadata.name, badge(api.status.state), api.spec.context]);
    /** @type {any[][]} */
    const connected = nodes.map((/** @type {any} */ node) => [node.id, node.engineVersion, node.apis.length]);
    replace(
      root,
      heading("Overview"),
      rows.length ? table("APIs", ["API", "State", "Context"], rows) : empty("No API is deployed."),
      connected.length ? table("Nodes", ["Node", "Engine", "APIs"], connected) : empty("No node is connected."),
    );
  }, signal);
}
