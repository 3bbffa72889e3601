// The worker of one watch. It is told what is wanted, then "taken" for each report that was shown.

import { Watch } from "./watch.js";

/** @type {Watch | undefined} */
let watch;

self.addEventListener("message", ({ data }) => {
  if (data === "taken") return watch?.taken();
  watch = new Watch(data, (report) => self.postMessage(report));
  watch.run();
});
