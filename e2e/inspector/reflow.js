// The elements that are wider than the page and lie in none that scrolls; for accessibility.py.
() => {
  const width = document.documentElement.clientWidth;
  const scrolls = (element) => {
    for (let parent = element.parentElement; parent && parent !== document.body; parent = parent.parentElement) {
      if (/auto|scroll|hidden|clip/.test(getComputedStyle(parent).overflowX)) return true;
    }
    return false;
  };
  if (document.scrollingElement.scrollWidth <= width) return [];
  return [...document.body.querySelectorAll("*")]
    .filter((element) => element.getBoundingClientRect().right > width + 1 && !scrolls(element))
    .slice(0, 8)
    .map((element) => `<${element.localName} class="${element.getAttribute("class") ?? ""}"> ends at ` +
      `${Math.round(element.getBoundingClientRect().right)} of ${width}: “${element.textContent.trim().slice(0, 40)}”`)
    .concat([`the page is ${document.scrollingElement.scrollWidth} wide`]);
}
