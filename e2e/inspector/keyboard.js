// The elements at which Tab stops, and how they look with and without the focus; for accessibility.py.
() => {
  const drawn = (element, pseudo) => {
    const style = getComputedStyle(element, pseudo);
    return [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow, style.borderTopColor,
      style.borderBottomColor, style.backgroundColor, style.textDecorationLine].join("|");
  };
  const named = (element) => {
    const text = (element.getAttribute("aria-label") || element.textContent || element.name || "").trim().slice(0, 40);
    return `<${element.localName}${element.id ? ` id=${element.id}` : ""}> “${text}”`;
  };
  const shown = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getClientRects().length > 0;
  const tabbable = (element) => {
    if (element.tabIndex < 0 || element.matches(":disabled") || element.closest("[inert]")) return false;
    if (!shown(element)) return false;
    if (element.matches("input[type=radio]") && element.name) {
      const group = [...document.querySelectorAll(`input[type=radio][name="${CSS.escape(element.name)}"]`)];
      return element === (group.find((radio) => radio.checked) ?? group[0]);
    }
    const dialog = document.querySelector("dialog:modal");
    return !dialog || dialog.contains(element);
  };
  // From the beginning: after the focus's element is gone, Tab goes on from where it was.
  const beginning = Object.assign(document.createElement("span"), { tabIndex: -1 });
  (document.querySelector("dialog:modal") ?? document.body).prepend(beginning);
  beginning.focus();
  beginning.remove();
  const all = "a[href], button, input, select, textarea, summary, iframe, [tabindex], [contenteditable]";
  globalThis.keyboardTest = {
    wanted: [...document.querySelectorAll(all)].filter(tabbable),
    stops: [],
    resting: new Map([...document.querySelectorAll("*")].map((element) => [element, drawn(element)])),
    atRest(element) {
      if (this.resting.has(element)) return this.resting.get(element);
      const focused = document.activeElement;
      focused.blur(); // the element was not there at the beginning
      const found = drawn(element);
      focused.focus({ preventScroll: true });
      return found;
    },
    look() {
      const element = document.activeElement;
      if (!element || element === document.body || this.stops.includes(element)) return null;
      this.stops.push(element);
      const box = element.getBoundingClientRect();
      const inside = box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0 &&
        box.left < innerWidth && box.top < innerHeight;
      const [x, y] = [Math.min(Math.max(box.left + box.width / 2, 1), innerWidth - 1),
        Math.min(Math.max(box.top + Math.min(box.height / 2, 20), 1), innerHeight - 1)];
      const top = document.elementFromPoint(x, y);
      const covered = !top || !(element.contains(top) || top.contains(element) || element.labels?.[0]?.contains(top));
      const around = [element.parentElement, element.parentElement?.parentElement].filter(Boolean); // :focus-within
      const marked = [element, ...(element.labels ?? []), ...around].some((node) => drawn(node) !== this.atRest(node));
      const wrong = [];
      if (!inside) wrong.push("it is outside of what is shown");
      else if (covered) wrong.push(`it is behind ${named(top)}`);
      if (!marked) wrong.push("nothing shows that it has the focus");
      return { name: named(element), wrong };
    },
    missed() {
      return this.wanted.filter((element) => element.isConnected && tabbable(element) && !this.stops.includes(element))
        .map(named);
    },
  };
}
