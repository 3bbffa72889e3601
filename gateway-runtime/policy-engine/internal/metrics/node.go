package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/xds"
)

// Node has the functions that return the state of the node. All are called from any goroutine.
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
	nodeUpdates    = desc("node_updates_total", "Versions of APIs by result.", "result")
	xdsUpdates     = desc("xds_updates_total", "Envoy's answers to updates.", "type", "result")
	secretsInUse   = desc("secrets_in_use", "Secrets that the node's APIs name.")
	secretsFailing = desc("secrets_failing", "Failures of secrets, by what fails: a file that is missing or cannot be read, or an API with a policy that cannot use a changed secret.", "what")
	certificateEnd = desc("certificate_expiry_timestamp_seconds", "When a certificate of the Gateway expires.", "name")
	certificateDue = desc("certificate_warning_timestamp_seconds", "When warnings of a certificate's expiry begin: soon, urgent and last.", "name", "warning")
	filesFailing   = desc("certificate_files_failing", "1 for each certificate and authority of the Gateway whose files cannot be used; their previous content, if any, is served.", "kind", "name")
	listenerClosed = desc("listener_closed", "1 for each listener of the Gateway that is closed, since it needs a certificate or an authority whose files cannot be used.", "name")
)

// nodeCollector exports the state of the node at the time of a scrape.
type nodeCollector struct {
	node     Node
	counters *exchange.Counters
}

// Describe sends the descriptions.
func (nodeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		buildInfo, exchangesActive, bodiesHeld, bodiesLimit, bodiesRefused, executorProcesses, executorWorkers, executorBusy,
		executorHungWorker, executorQueue, executorActive, executorStreams, executorHung, quarantined, generation, nodeConnected, nodeRevision, nodeAPIs,
		nodeUpdates, xdsUpdates, certificateEnd, certificateDue, filesFailing, listenerClosed, secretsInUse, secretsFailing,
	} {
		to <- desc
	}
	for _, counter := range engineCounters {
		to <- counter.desc
	}
}

// Collect sends the metrics.
func (c nodeCollector) Collect(to chan<- prometheus.Metric) {
	t := sender(to)
	t.gauge(buildInfo, 1, c.node.Version, component)
	t.gauge(exchangesActive, float64(c.counters.Stats().Active))
	t.engine(c.counters.EngineTotals())
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

type sender chan<- prometheus.Metric

func (t sender) gauge(of *prometheus.Desc, value float64, labels ...string) {
	t <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value, labels...)
}

func (t sender) counter(of *prometheus.Desc, value uint64, labels ...string) {
	t <- prometheus.MustNewConstMetric(of, prometheus.CounterValue, float64(value), labels...)
}

func (t sender) engine(totals []uint64) {
	for _, counter := range engineCounters {
		for value := range counter.Values {
			t.counter(counter.desc, totals[counter.First+value], counter.LabelValues(nil, value)...)
		}
	}
}

// sum adds up values by their labels, of which there are at most two.
type sum map[[2]string]float64

func (s sum) send(t sender, of *prometheus.Desc, labels int) {
	for values, value := range s {
		t.gauge(of, value, values[:labels]...)
	}
}

func (t sender) executors(processes []pythonbridge.ProcessStats) {
	roles, hung := sum{}, sum{}
	workers, busy, held, queued, active, streams := sum{}, sum{}, sum{}, sum{}, sum{}, sum{}
	for _, process := range processes {
		group := [2]string{process.Group}
		for _, role := range []string{"joining", "serving", "leaving"} {
			roles[[2]string{process.Group, role}] += 0 // report roles without a process, too
		}
		roles[[2]string{process.Group, process.Role}]++
		workers[group] += float64(process.Workers)
		busy[group] += float64(process.WorkersBusy)
		held[group] += float64(process.WorkersHung)
		queued[group] += float64(process.Queued)
		active[group] += float64(process.UnderWay)
		streams[group] += float64(process.Streams)
		for _, hungPolicy := range process.Hung {
			hung[[2]string{process.Group, hungPolicy.Policy}] += float64(hungPolicy.Count)
		}
	}
	roles.send(t, executorProcesses, 2)
	workers.send(t, executorWorkers, 1)
	busy.send(t, executorBusy, 1)
	held.send(t, executorHungWorker, 1)
	queued.send(t, executorQueue, 1)
	active.send(t, executorActive, 1)
	streams.send(t, executorStreams, 1)
	hung.send(t, executorHung, 2)
}

func (t sender) quarantined(instances []pythonbridge.QuarantineStats) {
	counts := sum{}
	for _, instance := range instances {
		counts[[2]string{instance.Policy, instance.API}]++
	}
	counts.send(t, quarantined, 2)
}

func (t sender) node(stats node.Stats) {
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
	for _, file := range stats.Gateway.FailingFiles {
		t.gauge(filesFailing, 1, file.Kind, file.Name)
	}
	for _, name := range stats.Gateway.Closed {
		t.gauge(listenerClosed, 1, name)
	}
}

func (t sender) xds(stats xds.Stats) {
	for resourceType, answers := range stats.Updates {
		t.counter(xdsUpdates, answers.Acknowledged, resourceType, "acknowledged")
		t.counter(xdsUpdates, answers.Refused, resourceType, "refused")
	}
}
