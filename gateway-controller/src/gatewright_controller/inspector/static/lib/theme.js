// Light or dark: as the system says, unless the user chose.

import { el } from "./dom.js";

const KEY = "gatewright.theme";
const CHOICES = [["auto", "System colours"], ["light", "Light"], ["dark", "Dark"]];

/** @returns {HTMLElement} */
export function themeSwitch() {
  const theme = localStorage.getItem(KEY) ?? "auto";
  use(theme);
  const options = CHOICES.map(([value, text]) => el("option", { value, selected: value === theme }, text));
  const select = el("select", { "aria-label": "Colours" }, options);
  select.addEventListener("change", () => {
    localStorage.setItem(KEY, select.value);
    use(select.value);
  });
  return select;
}

/** @param {string} theme */
function use(theme) {
  document.documentElement.style.colorScheme = theme === "auto" ? "light dark" : theme;
}
