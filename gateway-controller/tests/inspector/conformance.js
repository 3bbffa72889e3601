import { readFileSync } from "node:fs";

const FOLDER = new URL("../../../conformance/", import.meta.url);

/** Cases that tests in other languages read too. @param {string} path  below conformance/ @returns {any} */
export function conformance(path) {
  return JSON.parse(readFileSync(new URL(path, FOLDER), "utf8"));
}
