package metrics

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"
)

// MaxClusters is of how many of Envoy's clusters metrics are told. The first that are seen stay.
const MaxClusters = 1000

// clusterLabel is where Envoy says which cluster it is.
const clusterLabel = "envoy_cluster_name"

// envoyStats are those of Envoy's statistics that are told, as Envoy names them, by what they are of: HTTP listeners,
// upstreams, sockets, the process, and its defence against overload. There are hundreds more for each cluster. xx stands for
// the classes of status codes.
var envoyStats = []struct {
	scope string
	of    string // a regular expression of who it is, between the scope and the names; "": there is one alone
	names []string
}{
	{"http", `[^.]+`, []string{
		"downstream_rq_total", "downstream_rq_xx", "downstream_rq_active", "downstream_rq_time", "downstream_rq_timeout",
		"downstream_rq_rx_reset", "downstream_rq_tx_reset", "downstream_rq_overload_close", "downstream_cx_total", "downstream_cx_active",
		"downstream_cx_protocol_error", "downstream_cx_rx_bytes_total", "downstream_cx_tx_bytes_total", "no_route", "no_cluster",
	}},
	{"cluster", `.+`, []string{
		"upstream_rq_total", "upstream_rq_xx", "upstream_rq_active", "upstream_rq_time", "upstream_rq_timeout",
		"upstream_rq_per_try_timeout", "upstream_rq_retry", "upstream_rq_retry_success", "upstream_rq_retry_overflow",
		"upstream_rq_retry_limit_exceeded", "upstream_rq_pending_active", "upstream_rq_pending_overflow", "upstream_rq_rx_reset",
		"upstream_rq_tx_reset", "upstream_cx_total", "upstream_cx_active", "upstream_cx_connect_fail", "upstream_cx_connect_timeout",
		"membership_total", "membership_healthy", "outlier_detection.ejections_active", "outlier_detection.ejections_enforced_total",
		"health_check.attempt", "health_check.success", "health_check.failure", "health_check.healthy",
		"ssl.handshake", "ssl.connection_error", "ssl.fail_verify_error", "ssl.fail_verify_san",
		"circuit_breakers.default.rq_open", "circuit_breakers.default.cx_open", "circuit_breakers.default.rq_pending_open",
		"circuit_breakers.default.rq_retry_open",
	}},
	{"listener", `.+`, []string{
		"downstream_cx_total", "downstream_cx_active", "downstream_cx_overflow", "downstream_cx_overload_reject",
		"downstream_global_cx_overflow", "downstream_pre_cx_timeout",
		"ssl.handshake", "ssl.connection_error", "ssl.fail_verify_error", "ssl.fail_verify_no_cert", "ssl.fail_verify_san",
	}},
	{"server", "", []string{"live", "uptime", "concurrency", "memory_allocated", "memory_heap_size"}},
	{"overload.envoy.overload_actions", "[^.]+", []string{"active", "scale_percent"}},
	{"overload.envoy.resource_monitors", "[^.]+", []string{"pressure"}},
}

// envoyFilter is what Envoy is asked for: statistics whose names match it.
var envoyFilter = func() string {
	var all []string
	for _, stats := range envoyStats {
		place := regexp.QuoteMeta(stats.scope) + `\.`
		if stats.of != "" {
			place += stats.of + `\.`
		}
		names := strings.ReplaceAll(regexp.QuoteMeta(strings.Join(stats.names, "\n")), "\n", "|")
		all = append(all, place+"("+strings.ReplaceAll(names, "_xx", "_[1-5]xx")+")")
	}
	return "^(" + strings.Join(all, "|") + ")$"
}()

// envoyFamilies are the names of the families that these statistics become; NAME stands for what has no label in Envoy.
var envoyFamilies = func() (all []string) {
	for _, stats := range envoyStats {
		for _, name := range stats.names {
			scope := stats.scope
			if strings.Contains(scope, ".") {
				scope += ".NAME"
			}
			all = append(all, "envoy_"+strings.ReplaceAll(scope+"."+name, ".", "_"))
		}
	}
	return all
}()

// envoyFamily matches these names; more is left out.
var envoyFamily = regexp.MustCompile("^(" + strings.ReplaceAll(strings.Join(envoyFamilies, "|"), "NAME", "[a-z_]+") + ")$")

// envoyChoice chooses what is told of what Envoy tells.
type envoyChoice struct {
	mutex    sync.Mutex
	clusters map[string]bool // those that are told
}

func newEnvoyChoice() *envoyChoice { return &envoyChoice{clusters: map[string]bool{}} }

// choose leaves out families that are not chosen, and clusters for which there is no room.
func (c *envoyChoice) choose(all map[string]*dto.MetricFamily) []*dto.MetricFamily {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	leftOut := c.admit(all)
	var chosen []*dto.MetricFamily
	for name, family := range all {
		if !envoyFamily.MatchString(name) {
			continue
		}
		family.Metric = slices.DeleteFunc(family.Metric, func(metric *dto.Metric) bool {
			cluster, ok := labelOf(metric, clusterLabel)
			manager, _ := labelOf(metric, "envoy_http_conn_manager_prefix")
			return ok && !c.clusters[cluster] || manager == "admin" // who asks Envoy itself
		})
		keepName(family)
		chosen = append(chosen, family)
	}
	name, help, value := namespace+"_metrics_clusters_left_out", "Clusters of Envoy's whose metrics are not told, for there are too many.", float64(leftOut)
	return append(chosen, &dto.MetricFamily{
		Name: &name, Help: &help, Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &value}}},
	})
}

// admit gives clusters that have come the room of those that have gone, in the order of their names, and returns for how many
// there is none.
func (c *envoyChoice) admit(all map[string]*dto.MetricFamily) (leftOut int) {
	present := map[string]bool{}
	for _, family := range all {
		for _, metric := range family.GetMetric() {
			if cluster, ok := labelOf(metric, clusterLabel); ok {
				present[cluster] = true
			}
		}
	}
	var fresh []string
	for cluster := range present {
		if !c.clusters[cluster] {
			fresh = append(fresh, cluster)
		}
	}
	for cluster := range c.clusters {
		if !present[cluster] {
			delete(c.clusters, cluster)
		}
	}
	slices.Sort(fresh)
	room := min(max(MaxClusters-len(c.clusters), 0), len(fresh))
	for _, cluster := range fresh[:room] {
		c.clusters[cluster] = true
	}
	return len(fresh) - room
}

// keepName makes a counter whose name does not end in _total one of no type: OpenMetrics would give it another name.
func keepName(family *dto.MetricFamily) {
	if family.GetType() != dto.MetricType_COUNTER || strings.HasSuffix(family.GetName(), "_total") {
		return
	}
	family.Type = dto.MetricType_UNTYPED.Enum()
	for _, metric := range family.GetMetric() {
		metric.Untyped, metric.Counter = &dto.Untyped{Value: metric.GetCounter().Value}, nil
	}
}

func labelOf(metric *dto.Metric, name string) (string, bool) {
	for _, label := range metric.GetLabel() {
		if label.GetName() == name {
			return label.GetValue(), true
		}
	}
	return "", false
}
