import assert from "node:assert/strict";
import test from "node:test";
import { parse } from "#lib/metrics.js";
import { troubles } from "#lib/troubles.js";

const EXECUTOR = {
  group: "default", role: "serving", connected: true, serving: true, pid: 4711, workers: 32, queued: 0, silentMs: 158,
  stalled: false, memoryExhausted: false, threadFailed: false, workersBusy: 3, hung: [],
};
const METRICS = `
gatewright_process_up{component="envoy"} 1
gatewright_process_restarts_total{component="python-executor"} 0
envoy_overload_envoy_overload_actions_stop_accepting_requests_active 0
`;

/** A node without problems. */
function well() {
  return {
    gateway: { state: "deployed", reason: "" },
    stats: {
      node: { unserved: 0, stateErrors: 0 },
      xds: { envoyConnected: true },
      bodies: { limitBytes: 1000, heldBytes: 0 },
      executors: [{ ...EXECUTOR }],
    },
    metrics: METRICS,
    problem: "",
  };
}

/** @param {ReturnType<typeof well>} report @param {any[]} [apis] */
function troublesOf({ gateway, stats, metrics, problem }, apis = []) {
  return troubles(apis, [{ node: { id: "n1", gateway }, stats, metrics: parse(metrics), notes: [], problem }]);
}

/** @param {string} from @param {string} to */
function counted(from, to) {
  assert.ok(METRICS.includes(from));
  return (/** @type {ReturnType<typeof well>} */ report) => { report.metrics = METRICS.replace(from, to); };
}

/** @param {object} members */
function executor(members) {
  return (/** @type {ReturnType<typeof well>} */ report) => { Object.assign(report.stats.executors[0], members); };
}

const HUNG = { policy: "sleep:v1.0.0", api: "slow", count: 3, oldestMs: 61_000, blocksInstance: true };

/** @type {[title: string, kind: string, change: (report: ReturnType<typeof well>) => void, meaning?: RegExp, to?: string][]} */
const TROUBLES = [
  ["Envoy is not connected to the engine on n1", "bad", ({ stats }) => { stats.xds.envoyConnected = false; }],
  ["1 API not served on n1", "bad", ({ stats }) => { stats.node.unserved = 1; }],
  ["No executor of group default serves on n1", "bad", executor({ connected: false, serving: false, pid: 0 })],
  ["sleep:v1.0.0 hangs in executor default (pid 4711) on n1", "bad", executor({ hung: [HUNG] }),
    /^3 executions for API slow still run .* for 1 min 1 s, and hold workers; the policy no longer answers/, "#/policies/sleep/v1.0.0"],
  ["Executor default (pid 4711) on n1 is silent", "bad", executor({ silentMs: 9000 }), /for 9 s\.$/],
  ["Executor default (pid 4711) on n1 is out of memory", "bad", executor({ memoryExhausted: true })],
  ["Executor default (pid 4711) on n1 has lost a thread", "bad", executor({ threadFailed: true })],
  ["No process of envoy is ready on n1", "bad", counted('up{component="envoy"} 1', 'up{component="envoy"} 0')],
  ["Envoy is overloaded on n1", "bad", counted("_active 0", "_active 1"), /: envoy overload actions stop accepting requests\.$/],
  ["The Gateway is rejected on n1", "bad", ({ gateway }) => Object.assign(gateway, { state: "rejected", reason: "the port is taken" }),
    /the port is taken/],
  ["The Gateway is pending on n1", "warn", ({ gateway }) => { gateway.state = "pending"; }],
  ["The state directory cannot be written to on n1", "warn", ({ stats }) => { stats.node.stateErrors = 2; }, /^2 writes failed/],
  ["Memory for bodies is nearly full on n1", "warn", ({ stats }) => { stats.bodies.heldBytes = 801; }],
  ["All workers of executor default (pid 4711) on n1 are busy", "warn", executor({ workersBusy: 32, queued: 9 }), /9 are queued/],
  ["Node n1 does not report its state", "warn", (report) => { report.problem = "it cannot be asked"; }, /^it cannot be asked\.$/],
  ["python-executor was restarted 4 times on n1", "info", counted("executor\"} 0", "executor\"} 4")],
];

for (const [title, kind, change, meaning = /./, to = "#/nodes/n1"] of TROUBLES) {
  test(title, () => {
    const report = well();
    change(report);
    const all = troublesOf(report);
    assert.deepEqual(all.map((trouble) => [trouble.title, trouble.kind, trouble.to]), [[title, kind, to]]);
    assert.match(all[0].meaning, meaning);
    for (const { meaning, cure } of all) assert.ok(meaning.endsWith(".") && cure.endsWith("."), `expected sentences, got ${meaning} ${cure}`);
  });
}

test("a node without problems has no trouble", () => {
  assert.deepEqual(troublesOf(well()), []);
});

test("an executor that leaves may be silent", () => {
  const report = well();
  report.stats.executors.push({ ...EXECUTOR, role: "leaving", silentMs: 9000, threadFailed: true });
  assert.deepEqual(troublesOf(report), []);
});

test("an executor that is stalled does not serve its group", () => {
  const report = well();
  executor({ stalled: true })(report);
  assert.deepEqual(troublesOf(report).map(({ title }) => title), [
    "No executor of group default serves on n1", "Executor default (pid 4711) on n1 is stalled",
  ]);
});

test("the worst stands first, and APIs before nodes", () => {
  const report = well();
  for (const [, , change] of TROUBLES.filter(([title]) => /Gateway is rejected|state directory|restarted/.test(title))) change(report);
  const apis = ["pending", "rejected", "deployed"].map((state) => ({ metadata: { name: state }, status: { state, reason: "" } }));
  assert.deepEqual(troublesOf(report, apis).map(({ title, kind, to }) => [title, kind, to]), [
    ["API rejected is rejected", "bad", "#/apis/rejected"],
    ["The Gateway is rejected on n1", "bad", "#/nodes/n1"],
    ["API pending is pending", "warn", "#/apis/pending"],
    ["The state directory cannot be written to on n1", "warn", "#/nodes/n1"],
    ["python-executor was restarted 4 times on n1", "info", "#/nodes/n1"],
  ]);
});

test("a controller without nodes shows that none is connected", () => {
  assert.deepEqual(troubles([], []).map(({ title, kind }) => [title, kind]), [["No node is connected", "bad"]]);
});
