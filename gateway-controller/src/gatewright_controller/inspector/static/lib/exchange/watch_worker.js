// The worker of one watch. The page sends it the request, then "shown" for each report that it has shown.

import { Watch } from "./watch.js";

/** @type {Watch | undefined} */
let watch;

self.addEventListener("message", ({ data }) => {
  if (data === "shown") return watch?.reportShown();
  watch = new Watch(data, (report) => self.postMessage(report));
  watch.run();
});
