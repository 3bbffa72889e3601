// A JSON Schema (2020-12) of parameters as rows for people: one for each value that can be given, nested ones by their path.

/** @typedef {Record<string, any>} Schema */
/**
 * @typedef {object} Row
 * @property {string} path "quotas.*.limit", "headers[].name"
 * @property {string} type
 * @property {boolean} required
 * @property {boolean} secret
 * @property {string} description
 * @property {string[]} constraints
 * @property {string} default as JSON; "": there is none
 * @property {string[]} examples as JSON
 */

const SECRETS = new Set(["password", "secret"]);
const DEEPEST = 8;
// A schema that refers to itself is listed once: `trail` has the references on the way to a value.

/** @param {Schema} schema of an object @returns {Row[]} */
export function rowsOf(schema) {
  return members(schema, "", schema, []);
}

/** @param {Schema} schema @param {string} path @param {Schema} root @param {string[]} trail @returns {Row[]} */
function members(schema, path, root, trail) {
  if (trail.length > DEEPEST || trail.includes(schema.$ref)) return [];
  const within = [...trail, schema.$ref ?? ""];
  const whole = resolved(schema, root);
  const join = (/** @type {string} */ name) => (path ? `${path}.${name}` : name);
  const required = new Set(whole.required ?? []);
  const rows = Object.entries(whole.properties ?? {}).flatMap(([name, property]) =>
    valueRows(/** @type {Schema} */ (property), join(name), root, within, required.has(name)),
  );
  for (const [pattern, property] of Object.entries(whole.patternProperties ?? {})) {
    rows.push(...valueRows(/** @type {Schema} */ (property), join(`/${pattern}/`), root, within, false));
  }
  const others = whole.additionalProperties;
  if (isSchema(others)) rows.push(...valueRows(others, join("*"), root, within, false));
  for (const choice of [...(whole.oneOf ?? []), ...(whole.anyOf ?? [])]) {
    const known = new Set(rows.map((row) => row.path));
    rows.push(...members(choice, path, root, within).filter((row) => !known.has(row.path)));
  }
  return rows;
}

/** @param {Schema} schema @param {string} path @param {Schema} root @param {string[]} trail @param {boolean} required @returns {Row[]} */
function valueRows(schema, path, root, trail, required) {
  const whole = resolved(schema, root);
  const items = isSchema(whole.items) ? whole.items : null;
  const inside = items ? itemRows(items, `${path}[]`, root, trail) : members(schema, path, root, trail);
  return [rowOf(whole, path, root, required), ...inside];
}

/** @param {Schema} items @param {string} path @param {Schema} root @param {string[]} trail @returns {Row[]} */
function itemRows(items, path, root, trail) {
  if (trail.length > DEEPEST) return [];
  const whole = resolved(items, root);
  const inner = isSchema(whole.items) ? itemRows(whole.items, `${path}[]`, root, [...trail, ""]) : members(items, path, root, trail);
  const isDescribed = constraintsOf(whole).length || whole.description || whole.enum;
  return isDescribed ? [rowOf(whole, path, root, false), ...inner] : inner;
}

/** @param {Schema} whole @param {string} path @param {Schema} root @param {boolean} required @returns {Row} */
function rowOf(whole, path, root, required) {
  return {
    path,
    type: typeOf(whole, root, 0),
    required,
    secret: whole.writeOnly === true || SECRETS.has(whole.format),
    description: whole.description ?? "",
    constraints: constraintsOf(whole),
    default: "default" in whole ? JSON.stringify(whole.default) : "",
    examples: (whole.examples ?? []).map((/** @type {unknown} */ example) => JSON.stringify(example)),
  };
}

/** @param {Schema} schema @param {Schema} root @param {number} depth @returns {string} */
function typeOf(schema, root, depth) {
  const whole = resolved(schema, root);
  const types = [whole.type ?? []].flat();
  const named = types.map((type) => (type === "array" && isSchema(whole.items) && depth < 4 ? `list of ${typeOf(whole.items, root, depth + 1)}` : type));
  if (named.length) return named.join(" or ");
  const choices = [...(whole.oneOf ?? []), ...(whole.anyOf ?? [])];
  if (choices.length && depth < 4) return [...new Set(choices.map((choice) => typeOf(choice, root, depth + 1)))].join(" or ");
  if (whole.enum) return [...new Set(whole.enum.map((/** @type {unknown} */ value) => (value === null ? "null" : typeof value)))].join(" or ");
  if ("const" in whole) return typeof whole.const;
  return whole.properties ? "object" : "any";
}

/** @type {Record<string, (value: any) => string>} */
const CONSTRAINTS = {
  enum: (value) => `one of ${value.map((/** @type {unknown} */ member) => JSON.stringify(member)).join(", ")}`,
  const: (value) => `always ${JSON.stringify(value)}`,
  format: (value) => ({ password: "", secret: "text, or {secretRef: NAME} or {secretRef: NAME/KEY}" })[/** @type {string} */ (value)] ?? `a ${value}`,
  pattern: (value) => `matches ${value}`,
  minimum: (value) => `at least ${value}`,
  maximum: (value) => `at most ${value}`,
  exclusiveMinimum: (value) => `more than ${value}`,
  exclusiveMaximum: (value) => `less than ${value}`,
  multipleOf: (value) => `a multiple of ${value}`,
  minLength: (value) => `at least ${counted(value, "character")}`,
  maxLength: (value) => `at most ${counted(value, "character")}`,
  minItems: (value) => `at least ${counted(value, "item")}`,
  maxItems: (value) => `at most ${counted(value, "item")}`,
  uniqueItems: (value) => (value ? "unique items" : ""),
  minProperties: (value) => `at least ${counted(value, "member")}`,
  maxProperties: (value) => `at most ${counted(value, "member")}`,
  propertyNames: (value) => `names: ${constraintsOf(value).join(", ") || JSON.stringify(value)}`,
  dependentRequired: (value) => Object.entries(value).map(([name, others]) => `${name} requires ${/** @type {string[]} */ (others).join(", ")}`).join("; "),
  not: (value) => `not what ${constraintsOf(value).join(", ") || JSON.stringify(value)}`,
};

/** @param {Schema} schema @returns {string[]} */
export function constraintsOf(schema) {
  return Object.entries(CONSTRAINTS).flatMap(([name, describe]) => (name in schema ? [describe(schema[name])].filter(Boolean) : []));
}

/** @param {number} count @param {string} noun */
function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** With what its $ref and allOf say. @param {Schema} schema @param {Schema} root @param {number} [depth] @returns {Schema} */
export function resolved(schema, root, depth = 0) {
  if (depth > DEEPEST || !isSchema(schema)) return {};
  const { $ref, allOf, ...own } = schema;
  const parts = [typeof $ref === "string" ? pointed(root, $ref) : {}, ...(allOf ?? [])];
  return [...parts.map((part) => resolved(part, root, depth + 1)), own].reduce(both, {});
}

/** @param {Schema} first @param {Schema} other @returns {Schema} */
function both(first, other) {
  const properties = { ...first.properties };
  for (const [name, schema] of Object.entries(other.properties ?? {})) {
    properties[name] = name in properties ? { allOf: [properties[name], schema] } : schema;
  }
  const required = [...new Set([...(first.required ?? []), ...(other.required ?? [])])];
  const merged = { ...first, ...other };
  if (Object.keys(properties).length) merged.properties = properties;
  if (required.length) merged.required = required;
  return merged;
}

/** @param {Schema} root @param {string} reference "#/$defs/header" @returns {Schema} */
function pointed(root, reference) {
  if (!reference.startsWith("#")) return {};
  const steps = reference.slice(1).split("/").filter(Boolean).map((step) => decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~"));
  return steps.reduce((schema, step) => schema?.[step] ?? {}, root);
}

/** @param {unknown} value @returns {value is Schema} */
function isSchema(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
