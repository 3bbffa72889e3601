// The OpenAPI document of the management API, as its pages show it.

import { constraintsOf } from "./schema.js";

/** @typedef {Record<string, any>} Schema */
/** @typedef {string | {shape: string}} Part words of a type, or the name of a shape */
/** @typedef {{name: string, type: Part[], required: boolean, description: string, constraints: string[]}} Field */
/** @typedef {{status: string, description: string, mediaTypes: string[], type: Part[]}} Answer `type` is empty where it has no schema */
/** @typedef {{id: string, method: string, path: string, summary: string, tag: string, right: string}} Operation `right`: "" where no token is asked for */

const SHAPES = "#/components/schemas/";
const RIGHT = "x-gatewright-right";

/** @param {any} document @returns {Operation[]} in the order of the document */
export function operationsOf(document) {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(/** @type {Record<string, any>} */ (methods)).map(([method, operation]) => ({
      id: operation.operationId,
      method: method.toUpperCase(),
      path,
      summary: operation.summary,
      tag: operation.tags[0],
      right: operation[RIGHT] ?? "",
    })),
  );
}

/** @param {any} document @param {string} id @returns {any} as it stands in the document; undefined: there is none */
export function operationNamed(document, id) {
  return Object.values(document.paths).flatMap((methods) => Object.values(methods)).find(({ operationId }) => operationId === id);
}

/** @param {any} operation @returns {(Field & {place: string})[]} */
export function parametersOf(operation) {
  return (operation.parameters ?? []).map((/** @type {any} */ parameter) => ({
    name: parameter.name,
    place: parameter.in,
    type: typeOf(parameter.schema),
    required: parameter.required === true,
    description: parameter.description,
    constraints: wordsOf(parameter.schema),
  }));
}

/** @param {any} document @param {any} operation @returns {Answer[]} */
export function answersOf(document, operation) {
  return Object.entries(operation.responses).map(([status, answer]) => {
    const { description, content = {} } = answer.$ref ? document.components.responses[answer.$ref.split("/").at(-1)] : answer;
    return { status, description, mediaTypes: Object.keys(content), type: contentType(content) };
  });
}

/** @param {Record<string, {schema?: Schema}>} content @returns {Part[]} */
export function contentType(content) {
  const schema = Object.values(content).find((media) => media.schema)?.schema;
  return schema ? typeOf(schema) : [];
}

/** The fields of a shape, those of an object. @param {Schema} shape @returns {Field[]} */
export function fieldsOf(shape) {
  const required = new Set(shape.required ?? []);
  return Object.entries(/** @type {Record<string, Schema>} */ (shape.properties ?? {})).map(([name, schema]) => ({
    name,
    type: typeOf(schema),
    required: required.has(name),
    description: schema.description ?? "",
    constraints: wordsOf(schema),
  }));
}

/** @param {Schema} schema @returns {Part[]} */
export function typeOf(schema) {
  if (typeof schema.$ref === "string") return [{ shape: schema.$ref.slice(SHAPES.length) }];
  if (schema.anyOf) return schema.anyOf.flatMap((/** @type {Schema} */ choice, /** @type {number} */ at) => [...(at ? [" or "] : []), ...typeOf(choice)]);
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items || {})];
  if (isSchema(schema.additionalProperties)) return ["object of ", ...typeOf(schema.additionalProperties)];
  if (schema.enum) return ["one of several values"];
  return [[schema.type ?? "any"].flat().join(" or ")];
}

/** What limits a value, and its default. @param {Schema} schema */
function wordsOf(schema) {
  const inner = schema.type === "array" && isSchema(schema.items) ? constraintsOf(schema.items) : [];
  const fallback = "default" in schema ? [`${JSON.stringify(schema.default)} by default`] : [];
  return [...constraintsOf(schema), ...inner, ...fallback];
}

/** @param {unknown} value @returns {value is Schema} */
function isSchema(value) {
  return typeof value === "object" && value !== null && Object.keys(value).length > 0;
}
