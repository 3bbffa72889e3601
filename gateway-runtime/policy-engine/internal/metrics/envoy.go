package metrics

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"
)

// MaxClusters is the number of Envoy's clusters whose metrics are exported. Clusters keep their place while they exist.
const MaxClusters = 1000

// clusterLabel is the label that names the cluster.
const clusterLabel = "envoy_cluster_name"

// envoyStats are the exported ones of Envoy's statistics, by Envoy's names and by scope: HTTP listeners,
// upstreams, sockets, the process, and its overload manager. There are hundreds more for each cluster. xx stands for
// the classes of status codes.
var envoyStats = []struct {
	scope string
	of    string // a regular expression of the owner, between the scope and the names; "": there is only one
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

// envoyFilter is the filter of requests to Envoy: a regular expression of names.
var envoyFilter = func() string {
	var expressions []string
	for _, stats := range envoyStats {
		place := regexp.QuoteMeta(stats.scope) + `\.`
		if stats.of != "" {
			place += stats.of + `\.`
		}
		names := strings.ReplaceAll(regexp.QuoteMeta(strings.Join(stats.names, "\n")), "\n", "|")
		expressions = append(expressions, place+"("+strings.ReplaceAll(names, "_xx", "_[1-5]xx")+")")
	}
	return "^(" + strings.Join(expressions, "|") + ")$"
}()

// envoyFamilies are the names of the families of these statistics; NAME stands for a part of the name that is no label.
var envoyFamilies = func() (names []string) {
	for _, stats := range envoyStats {
		for _, stat := range stats.names {
			scope := stats.scope
			if strings.Contains(scope, ".") {
				scope += ".NAME"
			}
			names = append(names, "envoy_"+strings.ReplaceAll(scope+"."+stat, ".", "_"))
		}
	}
	return names
}()

// envoyFamily matches these names.
var envoyFamily = regexp.MustCompile("^(" + strings.ReplaceAll(strings.Join(envoyFamilies, "|"), "NAME", "[a-z_]+") + ")$")

// envoyChoice selects the exported ones of Envoy's metrics.
type envoyChoice struct {
	mutex    sync.Mutex
	clusters map[string]bool // those that are exported
}

func newEnvoyChoice() *envoyChoice { return &envoyChoice{clusters: map[string]bool{}} }

// choose removes families that are not exported, and clusters for which there is no room.
func (c *envoyChoice) choose(families map[string]*dto.MetricFamily) []*dto.MetricFamily {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	leftOut := c.admit(families)
	var chosen []*dto.MetricFamily
	for name, family := range families {
		if !envoyFamily.MatchString(name) {
			continue
		}
		family.Metric = slices.DeleteFunc(family.Metric, func(metric *dto.Metric) bool {
			cluster, ok := labelOf(metric, clusterLabel)
			manager, _ := labelOf(metric, "envoy_http_conn_manager_prefix")
			return ok && !c.clusters[cluster] || manager == "admin" // requests to Envoy's admin interface
		})
		clearType(family)
		chosen = append(chosen, family)
	}
	name, help, value := namespace+"_metrics_clusters_left_out", "Clusters of Envoy's whose metrics are left out, since there are too many.", float64(leftOut)
	return append(chosen, &dto.MetricFamily{
		Name: &name, Help: &help, Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &value}}},
	})
}

// admit replaces clusters that no longer exist by new ones, in the order of their names, and returns how many clusters
// have no room.
func (c *envoyChoice) admit(families map[string]*dto.MetricFamily) (leftOut int) {
	present := map[string]bool{}
	for _, family := range families {
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

// clearType removes the type of a counter whose name does not end in _total: OpenMetrics would rename it.
func clearType(family *dto.MetricFamily) {
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
