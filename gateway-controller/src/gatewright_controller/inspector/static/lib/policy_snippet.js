// A policy as it is attached in YAML, with what its schema requires, and where in an API it goes.

import { resolved } from "./schema.js";

const PLAIN = /^[A-Za-z][A-Za-z0-9_./-]*$/;
const NO_TEXT = /^(true|false|yes|no|on|off|null|y|n)$/i;

/**
 * @param {{name: string, version: string, parameters: any}} policy of `/v1/policies`
 * @returns {string[]} lines of one item of `policies`
 */
export function snippet({ name, version, parameters }) {
  const params = required(parameters ?? {}, parameters ?? {});
  const lines = [`- name: ${scalar(name)}`, `  version: ${version.split(".")[0]}`];
  if (!Object.keys(params).length) return lines;
  return [...lines, "  params:", ...written(params).map((line) => `    ${line}`)];
}

/**
 * Where the lines go: behind the policies that the caret is in or below of, else behind the first that there are, else
 * before the operations.
 * @param {string} text
 * @param {number} line of the caret, from 1
 * @param {string[]} added
 * @returns {{from: number, to: number, text: string, line: number}} offsets, and the line of the first that is added
 */
export function insertion(text, line, added) {
  const lines = text.split("\n");
  const lists = lines.flatMap((line, index) => (/^\s*(- )?policies:\s*(\[\s*\])?\s*(#.*)?$/.test(line) ? [index] : []));
  const list = lists.filter((index) => index < line).pop() ?? lists[0];
  if (list === undefined) return beforeOperations(lines, added);
  const own = depth(lines[list]);
  let end = list + 1;
  while (end < lines.length && (!lines[end].trim() || depth(lines[end]) > own)) end += 1;
  while (end > list + 1 && !lines[end - 1].trim()) end -= 1;
  const first = lines.slice(list + 1, end).find((line) => /^\s*- /.test(line));
  const indent = " ".repeat(first ? first.search(/\S/) : own + 2);
  const head = lines[list].replace(/\s*\[\s*\]/, "");
  const between = lines.slice(list + 1, end);
  const changed = [head, ...between, ...added.map((line) => indent + line)];
  return at(lines, list, end, changed, list + 1 + between.length);
}

/** @param {string[]} lines @param {string[]} added */
function beforeOperations(lines, added) {
  const operations = lines.findIndex((line) => /^\s*operations:/.test(line));
  const index = operations < 0 ? lines.length - 1 : operations;
  const indent = operations < 0 ? "  " : " ".repeat(depth(lines[operations]));
  const block = [`${indent}policies:`, ...added.map((line) => `${indent}  ${line}`)];
  const changed = operations < 0 ? [lines[index], ...block] : [...block, lines[index]];
  return at(lines, index, index + 1, changed, operations < 0 ? index + 2 : index + 1);
}

/**
 * @param {string[]} lines
 * @param {number} start
 * @param {number} end the lines from start to before it are replaced
 * @param {string[]} changed
 * @param {number} index of the first that is added
 */
function at(lines, start, end, changed, index) {
  const from = lines.slice(0, start).reduce((sum, line) => sum + line.length + 1, 0);
  const old = lines.slice(start, end).join("\n");
  return { from, to: from + old.length, text: changed.join("\n"), line: index + 1 };
}

/** @param {string} line the column at which its content begins: `- a` begins at its a */
function depth(line) {
  return /** @type {RegExpExecArray} */ (/^\s*(- )?/.exec(line))[0].length;
}

/** Of several forms that it may have, the first one. @param {any} schema of an object @param {any} root @returns {Record<string, any>} */
function required(schema, root) {
  const whole = resolved(schema, root);
  const names = [whole, whole.oneOf?.[0], whole.anyOf?.[0]].flatMap((form) => form?.required ?? []);
  return Object.fromEntries(names.map((/** @type {string} */ name) => [name, example(whole.properties?.[name] ?? {}, root)]));
}

/** @param {any} schema @param {any} root @returns {any} a value of the right type, for the user to change */
function example(schema, root) {
  const whole = resolved(schema, root);
  for (const known of [whole.default, whole.const, whole.examples?.[0], whole.enum?.[0]]) {
    if (known !== undefined) return known;
  }
  const type = Array.isArray(whole.type) ? whole.type[0] : whole.type;
  if (type === "object" || whole.properties) return required(whole, root);
  if (type === "array") return whole.minItems ? [example(whole.items ?? {}, root)] : [];
  if (type === "boolean") return false;
  if (type === "integer" || type === "number") return whole.minimum ?? 1;
  return "…";
}

/** @param {any} value @returns {string[]} lines of YAML */
function written(value) {
  const [pairs, begins] = /** @type {[[string, any][], (key: string) => string]} */ (
    Array.isArray(value) ? [value.map((item) => ["", item]), () => "-"] : [Object.entries(value), (/** @type {string} */ key) => `${scalar(key)}:`]
  );
  return pairs.flatMap(([key, item]) => {
    if (item === null || typeof item !== "object") return [`${begins(key)} ${scalar(item)}`];
    const inner = written(item);
    if (!inner.length) return [`${begins(key)} ${Array.isArray(item) ? "[]" : "{}"}`];
    if (Array.isArray(value)) return inner.map((line, index) => `${index ? "  " : "- "}${line}`);
    return [begins(key), ...inner.map((line) => `  ${line}`)];
  });
}

/** @param {any} value */
function scalar(value) {
  const plain = typeof value === "string" && PLAIN.test(value) && !NO_TEXT.test(value);
  return plain ? value : JSON.stringify(value);
}
