/** The time of an exchange: its executions, and between them the upstream. */

/**
 * @typedef {import("./recorded.js").Exchange} Exchange
 * @typedef {import("./recorded.js").Execution} Execution
 *
 * @typedef {{execution: Execution, startedMs: number, durationMs: number, waitedMs?: number, workMs?: number, chunksMs?: number}} Turn
 *   waitedMs: for its turn, and on the way; chunksMs: of a stream, for chunks and for the reader of its own
 * @typedef {{upstream: string, startedMs: number, durationMs: number, status: number}} UpstreamTime
 *   upstream: the pool that policies have chosen; "" for the operation's own; status: 0 where it has not answered
 */

/**
 * In order of their beginnings.
 *
 * @param {Exchange} exchange
 * @returns {(Turn | UpstreamTime)[]}
 */
export function timeline(exchange) {
  const turns = exchange.executions.map(turn);
  const upstream = upstreamTime(exchange);
  if (!upstream) return turns;
  const before = turns.filter((turn) => turn.startedMs < upstream.startedMs).length;
  return [...turns.slice(0, before), upstream, ...turns.slice(before)];
}

/** @param {Execution} execution @returns {Turn} */
function turn(execution) {
  const { startedMs, durationMs, workMs, chunksMs } = execution;
  const waitedMs = workMs === undefined ? undefined : Math.max(0, durationMs - workMs - (chunksMs ?? 0));
  return { execution, startedMs, durationMs, workMs, waitedMs, ...(chunksMs !== undefined && { chunksMs }) };
}

/**
 * From the moment when the request's headers left for the upstream to the answer's end, or to the end of the wait for one.
 *
 * @param {Exchange} exchange
 * @returns {UpstreamTime | undefined}
 */
function upstreamTime({ forwarded, upstreamResponse, cause }) {
  if (!forwarded || !upstreamResponse || (cause && cause.party !== "upstream")) return undefined;
  const startedMs = forwarded.atMs ?? 0;
  const ended = Math.max(upstreamResponse.atMs ?? 0, upstreamResponse.endMs ?? 0);
  const durationMs = Math.max(0, ended - startedMs);
  return { upstream: forwarded.upstream ?? "", startedMs, durationMs, status: cause ? 0 : (upstreamResponse.status ?? 0) };
}

/**
 * How long the axis is: to the end of the exchange, or of what took longer.
 *
 * @param {Exchange} exchange
 * @param {(Turn | UpstreamTime)[]} rows
 */
export function wholeMs(exchange, rows) {
  return Math.max(exchange.durationMs, ...rows.map((row) => row.startedMs + row.durationMs), 0.001);
}

/**
 * Round figures for an axis of so many milliseconds, from 0: five at most.
 *
 * @param {number} whole
 * @returns {number[]}
 */
export function ticks(whole) {
  const rough = whole / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  return Array.from({ length: Math.floor(whole / step + 1e-9) + 1 }, (_, index) => index * step);
}

/** With three digits that count, or all before the point. @param {number} value */
export function figure(value) {
  const decimals = value < 0.9995 ? 3 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return value.toFixed(decimals);
}
