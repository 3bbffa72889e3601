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
      .filter((/** @type {any} */ policy) => policy.name === name && policy.version === version)
      .map((/** @type {any} */ policy) => attachment(api, policy)),
  );
}

/** @param {any} api @param {any} policy */
function attachment(api, policy) {
  const [, at] = /^spec\.operations\[(\d+)\]/.exec(policy.field) ?? [];
  const [, place] = /policies\[(\d+)\]$/.exec(policy.field) ?? [];
  const level = at === undefined ? api.spec : api.spec.operations[Number(at)];
  const written = level?.policies?.[Number(place)] ?? {};
  return {
    api: api.metadata.name,
    state: api.status.state,
    field: policy.field,
    asked: policy.asked,
    operation: at === undefined ? "" : `${level.method} ${level.path}`,
    timeout: written.timeout ?? "",
    onError: typeof written.onError === "string" ? written.onError : "",
  };
}
