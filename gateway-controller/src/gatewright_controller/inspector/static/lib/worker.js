// Workers of the page's own files: the only addresses that it may run scripts from beside its own.

/** @type {any} */
const types = /** @type {any} */ (globalThis).trustedTypes;
const policy = types?.createPolicy("gatewright", {
  /** @param {string} path */
  createScriptURL(path) {
    if (!/^\/assets\/[a-z_/]+\.js$/.test(path)) throw new TypeError(`expected a file of the page, got ${path}`);
    return path;
  },
});

/**
 * @param {string} path of a module: "/assets/lib/NAME.js"
 * @returns {Worker}
 */
export function startWorker(path) {
  return new Worker(policy ? policy.createScriptURL(path) : path, { type: "module" });
}
