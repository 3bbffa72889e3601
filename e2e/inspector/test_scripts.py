"""The Inspector's modules that need a document; the others are tested in gateway-controller/tests/inspector."""

from __future__ import annotations

from playwright.sync_api import Page


def test_a_patch_leaves_unchanged_nodes_alone(page: Page) -> None:
    """The focus, open details and typed text stay; only differences are replaced."""
    script = """async () => {
      const { patch } = await import("/assets/lib/patch.js");
      const { el } = await import("/assets/lib/dom.js");
      const root = el("div");
      document.body.append(root);
      const content = (text, more) => [
        el("p", { class: text }, text), el("details", null, el("summary", null, "more"), text),
        el("input", { "aria-label": "x" }),
        more ? el("ul", null, more.map((one) => el("li", null, one))) : null,
      ];
      patch(root, ...content("one", ["a", "b", "c"]));
      const [paragraph, details, input] = root.children;
      details.open = true;
      input.value = "written";
      input.focus();
      patch(root, ...content("two", ["a", "c"]));
      const same = root.children[0] === paragraph && document.activeElement === input && details.isConnected;
      const shown = [paragraph.className, root.textContent, details.open, input.value];
      patch(root, ...content("three", null));
      const last = root.textContent;
      patch(root, el("h2", null, "other"));
      const other = root.innerHTML;
      root.remove();
      return [same, ...shown, last, other];
    }"""
    assert page.evaluate(script) == [
        True, "two", "twomoretwoac", True, "written", "threemorethree", "<h2>other</h2>",
    ]  # fmt: skip
