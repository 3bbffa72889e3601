// Puts one word in the place of each that is another every time; for screenshots.py.
() => {
  const patterns = [
    [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, "00000000-0000-4000-8000-000000000000"],
    [/\b[0-9a-f]{16,64}\b/g, (found) => "0".repeat(found.length)],
    [/\b\d{4}-\d\d-\d\d\b/g, "2026-01-01"],
    [/\b\d{1,2}:\d\d:\d\d(\.\d+)?/g, "12:00:00.000"],
    [/\b\d+(\.\d+)? (min \d+ s|h \d+ min|ms|s|min|h|days) ago\b/g, "1 s ago"],
    [/\b\d+(\.\d+)? (min \d+ s|h \d+ min)\b/g, "1 min 0 s"],
    [/\b\d+(\.\d+)? (ms|s|µs)(?![a-z])/g, "1.00 ms"],
    [/\b\d+(\.\d+)? (KiB|MiB|GiB|bytes|byte)\b/g, "1 KiB"],
    [/(?<![v.\d])\b\d+\.\d+\.\d+\b(?!\.)/g, "1.0.0"],
    [/\b(127\.0\.0\.1|localhost):\d+/g, "$1:8080"],
  ];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    let text = node.data;
    for (const [pattern, word] of patterns) text = text.replace(pattern, word);
    if (text !== node.data) node.data = text;
  }
}
