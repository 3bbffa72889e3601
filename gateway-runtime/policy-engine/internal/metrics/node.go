package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/xds"
)

// Node is what the engine knows of its node. All are called from any goroutine.
type Node struct {
	Version     string
	Bodies      func() chain.BudgetStats
	Executors   func() []pythonbridge.ProcessStats
	Quarantined func() []pythonbridge.QuarantineStats
	Generation  func() uint64
	Node        func() node.Stats
	XDS         func() xds.Stats
}

var (
	buildInfo       = desc("build_info", "1, by version.", "version", "component")
	exchangesActive = desc("exchanges_active", "Exchanges under way.")
	unknownChain    = desc("unknown_chain_total", "Requests answered 503 since their route named a chain that the engine does not have.")

	bodiesHeld    = desc("bodies_held_bytes", "Bytes of bodies held in all exchanges together.")
	bodiesLimit   = desc("bodies_limit_bytes", "Bytes that these may take: --body-memory.")
	bodiesRefused = desc("bodies_refused_total", "Bodies that did not fit.")

	executorProcesses  = desc("executor_processes", "Executor processes.", "group", "role")
	executorWorkers    = desc("executor_workers", "Threads that run policies.", "group")
	executorBusy       = desc("executor_workers_busy", "Of these, those that run an execution.", "group")
	executorHungWorker = desc("executor_workers_hung", "Of these, those that a hung execution holds.", "group")
	executorQueue      = desc("executor_queue_depth", "Executions that wait to be sent.", "group")
	executorActive     = desc("executor_executions_active", "Executions sent and not answered.", "group")
	executorStreams    = desc("executor_streams_active", "Of these, those that stream a body.", "group")
	executorHung       = desc("executor_hung_executions", "Executions that still run 5 s after their deadline.", "group", "policy")
	quarantined        = desc("quarantined_instances", "Policy instances under quarantine.", "policy", "api")
	generation         = desc("generation", "Number of the generation that serves new exchanges.")

	nodeConnected  = desc("node_controller_connected", "1 while the node's stream to its controller is up.")
	nodeRevision   = desc("node_revision", "Revision of the last update that was processed.")
	nodeAPIs       = desc("node_apis", "APIs of the node: served, pending (a version waits to be tried) or unserved (not even the last good version comes up).", "state")
	nodeUpdates    = desc("node_updates_total", "Versions of APIs by what became of them.", "result")
	xdsUpdates     = desc("xds_updates_total", "Envoy's answers to what it was sent.", "type", "result")
	secretsInUse   = desc("secrets_in_use", "Secrets that the node's APIs name.")
	secretsFailing = desc("secrets_failing", "What cannot be used of them: a file that is not there or cannot be read, or an API of which a policy does not take a secret that has changed.", "what")
	certificateEnd = desc("certificate_expiry_timestamp_seconds", "When a certificate of the Gateway ends.", "name")
	certificateDue = desc("certificate_warning_timestamp_seconds", "When the end of a certificate of the Gateway is warned of, by a share of its life: soon, urgent and last.", "name", "warning")
	filesFailing   = desc("certificate_files_failing", "1 for each certificate and authority of the Gateway whose files cannot be used: what they held before, if anything, is served.", "kind", "name")
	listenerClosed = desc("listener_closed", "1 for each listener of the Gateway that is closed, since it needs a certificate or an authority whose files cannot be used.", "name")
)

// nodeCollector tells what the node knows at the moment of a scrape.
type nodeCollector struct {
	node     Node
	counters *exchange.Counters
}

// Describe describes.
func (nodeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, one := range []*prometheus.Desc{
		buildInfo, exchangesActive, unknownChain, bodiesHeld, bodiesLimit, bodiesRefused, executorProcesses, executorWorkers, executorBusy,
		executorHungWorker, executorQueue, executorActive, executorStreams, executorHung, quarantined, generation, nodeConnected, nodeRevision, nodeAPIs,
		nodeUpdates, xdsUpdates, certificateEnd, certificateDue, filesFailing, listenerClosed, secretsInUse, secretsFailing,
	} {
		to <- one
	}
}

// Collect tells.
func (c nodeCollector) Collect(to chan<- prometheus.Metric) {
	t := teller(to)
	t.gauge(buildInfo, 1, c.node.Version, component)
	exchanges := c.counters.Stats()
	t.gauge(exchangesActive, float64(exchanges.Active))
	t.counter(unknownChain, exchanges.UnknownChain)
	bodies := c.node.Bodies()
	t.gauge(bodiesHeld, float64(bodies.Held))
	t.gauge(bodiesLimit, float64(bodies.Limit))
	t.counter(bodiesRefused, bodies.Refused)
	t.gauge(generation, float64(c.node.Generation()))
	t.executors(c.node.Executors())
	t.quarantined(c.node.Quarantined())
	t.node(c.node.Node())
	t.xds(c.node.XDS())
}

type teller chan<- prometheus.Metric

func (t teller) gauge(of *prometheus.Desc, value float64, labels ...string) {
	t <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value, labels...)
}

func (t teller) counter(of *prometheus.Desc, value uint64, labels ...string) {
	t <- prometheus.MustNewConstMetric(of, prometheus.CounterValue, float64(value), labels...)
}

// sum adds up what several tell of the same labels, which are at most two.
type sum map[[2]string]float64

func (s sum) tell(t teller, of *prometheus.Desc, labels int) {
	for values, value := range s {
		t.gauge(of, value, values[:labels]...)
	}
}

func (t teller) executors(processes []pythonbridge.ProcessStats) {
	roles, hung := sum{}, sum{}
	workers, busy, held, queued, active, streams := sum{}, sum{}, sum{}, sum{}, sum{}, sum{}
	for _, one := range processes {
		group := [2]string{one.Group}
		for _, role := range []string{"joining", "serving", "leaving"} {
			roles[[2]string{one.Group, role}] += 0 // a role that nobody has is told too
		}
		roles[[2]string{one.Group, one.Role}]++
		workers[group] += float64(one.Workers)
		busy[group] += float64(one.WorkersBusy)
		held[group] += float64(one.WorkersHung)
		queued[group] += float64(one.Queued)
		active[group] += float64(one.UnderWay)
		streams[group] += float64(one.Streams)
		for _, each := range one.Hung {
			hung[[2]string{one.Group, each.Policy}] += float64(each.Count)
		}
	}
	roles.tell(t, executorProcesses, 2)
	workers.tell(t, executorWorkers, 1)
	busy.tell(t, executorBusy, 1)
	held.tell(t, executorHungWorker, 1)
	queued.tell(t, executorQueue, 1)
	active.tell(t, executorActive, 1)
	streams.tell(t, executorStreams, 1)
	hung.tell(t, executorHung, 2)
}

func (t teller) quarantined(instances []pythonbridge.QuarantineStats) {
	all := sum{}
	for _, one := range instances {
		all[[2]string{one.Policy, one.API}]++
	}
	all.tell(t, quarantined, 2)
}

func (t teller) node(stats node.Stats) {
	connected := 0.0
	if stats.ControllerConnected {
		connected = 1
	}
	t.gauge(nodeConnected, connected)
	t.gauge(nodeRevision, float64(stats.Revision))
	t.gauge(nodeAPIs, float64(stats.APIs), "served")
	t.gauge(nodeAPIs, float64(stats.Pending), "pending")
	t.gauge(nodeAPIs, float64(stats.Unserved), "unserved")
	t.counter(nodeUpdates, stats.Applied, "applied")
	t.counter(nodeUpdates, stats.Rejected, "rejected")
	t.gauge(secretsInUse, float64(stats.Secrets.InUse))
	t.gauge(secretsFailing, float64(stats.Secrets.FailingFiles), "file")
	t.gauge(secretsFailing, float64(stats.Secrets.FailingAPIs), "api")
	for name, certificate := range stats.Certificates {
		t.gauge(certificateEnd, float64(certificate.Ends.Unix()), name)
		t.gauge(certificateDue, float64(certificate.Soon.Unix()), name, "soon")
		t.gauge(certificateDue, float64(certificate.Urgent.Unix()), name, "urgent")
		t.gauge(certificateDue, float64(certificate.Last.Unix()), name, "last")
	}
	for _, one := range stats.Gateway.FailingFiles {
		t.gauge(filesFailing, 1, one.Kind, one.Name)
	}
	for _, name := range stats.Gateway.Closed {
		t.gauge(listenerClosed, 1, name)
	}
}

func (t teller) xds(stats xds.Stats) {
	for of, answers := range stats.Updates {
		t.counter(xdsUpdates, answers.Acknowledged, of, "acknowledged")
		t.counter(xdsUpdates, answers.Refused, of, "refused")
	}
}
