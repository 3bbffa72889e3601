// Routes: the fragment of the address chooses the page, so that the controller serves a single document.

/** @typedef {Record<string, string> & {query: URLSearchParams}} Params parts of the path by name, and its query */
/** @typedef {{title: string, show: (root: HTMLElement, params: any, signal: AbortSignal) => Promise<void>}} Page */
/** @typedef {{pattern: string, right?: string, open?: boolean, load: () => Promise<{page: Page}>}} Route `pattern`: "/apis/:name"; the last `:rest*` has slashes */

/**
 * @param {Route[]} routes
 * @param {string} fragment "#/apis/petstore?x=1"
 * @returns {{route: Route, params: Params} | null} the first that fits
 */
export function match(routes, fragment) {
  const [path, query = ""] = fragment.replace(/^#/, "").split(/\?(.*)/s);
  for (const route of routes) {
    const params = fits(route.pattern, path || "/");
    if (params) return { route, params: /** @type {any} */ ({ ...params, query: new URLSearchParams(query) }) };
  }
  return null;
}

/**
 * The address of a page, each part encoded.
 * @param {string[]} parts
 * @param {Record<string, string>} [query]
 */
export function href(parts, query = {}) {
  const text = new URLSearchParams(query).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** @param {string} pattern @param {string} path */
function fits(pattern, path) {
  const patternParts = pattern.split("/");
  const pathParts = path.split("/");
  /** @type {Record<string, string>} */
  const params = {};
  for (const [index, part] of patternParts.entries()) {
    if (part.startsWith(":") && part.endsWith("*")) {
      params[part.slice(1, -1)] = decoded(pathParts.slice(index).join("/"));
      return params[part.slice(1, -1)] ? params : null;
    }
    if (part.startsWith(":") && pathParts[index]) params[part.slice(1)] = decoded(pathParts[index]);
    else if (part !== pathParts[index]) return null;
  }
  return pathParts.length === patternParts.length ? params : null;
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
