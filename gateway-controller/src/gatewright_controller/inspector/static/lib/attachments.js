// Where policies are attached: of the APIs as the management API has them.

/** @typedef {{api: string, state: string, field: string, asked: string, operation: string, timeout: string, onError: string}} Attachment */

/**
 * @param {any[]} apis
 * @param {string} name
 * @param {string} version
 * @returns {Attachment[]} in the order in which the APIs have them
 */
export function attachmentsOf(apis, name, version) {
  return apis.flatMap((api) =>
    (api.status.policies ?? [])
      .filter((/** @type {any} */ one) => one.name === name && one.version === version)
      .map((/** @type {any} */ one) => attachment(api, one)),
  );
}

/** @param {any} api @param {any} one */
function attachment(api, one) {
  const [, at] = /^spec\.operations\[(\d+)\]/.exec(one.field) ?? [];
  const [, place] = /policies\[(\d+)\]$/.exec(one.field) ?? [];
  const level = at === undefined ? api.spec : api.spec.operations[Number(at)];
  const written = level?.policies?.[Number(place)] ?? {};
  return {
    api: api.metadata.name,
    state: api.status.state,
    field: one.field,
    asked: one.asked,
    operation: at === undefined ? "" : `${level.method} ${level.path}`,
    timeout: written.timeout ?? "",
    onError: typeof written.onError === "string" ? written.onError : "",
  };
}
