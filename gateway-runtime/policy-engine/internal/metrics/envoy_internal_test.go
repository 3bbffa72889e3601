package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestThePageListsEnvoysMetrics: exactly those that are exported.
func TestThePageListsEnvoysMetrics(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## Envoy\n")
	if section, _, _ = strings.Cut(section, "\n## "); !ok {
		t.Fatal("expected a section Envoy")
	}
	documented := regexp.MustCompile("`(envoy_[A-Za-z_]+)`").FindAllStringSubmatch(section, -1)
	for _, name := range envoyFamilies {
		if !slices.ContainsFunc(documented, func(match []string) bool { return match[1] == name }) {
			t.Errorf("%s is exported, and not in docs/reference/metrics.md", name)
		}
	}
	labels := []string{"envoy_cluster_name", "envoy_http_conn_manager_prefix", "envoy_response_code_class", "envoy_listener_address"}
	for _, match := range documented {
		if !slices.Contains(labels, match[1]) && !slices.Contains(envoyFamilies, match[1]) {
			t.Errorf("%s is in docs/reference/metrics.md, and not exported", match[1])
		}
	}
}

func TestTheFilterOfEnvoysStatistics(t *testing.T) {
	filter := regexp.MustCompile(envoyFilter)
	for name, want := range map[string]bool{
		"http.gatewright.downstream_rq_total": true, "http.gatewright.downstream_rq_2xx": true, "http.gatewright.downstream_rq_xx": false,
		"cluster.orders|main|ab12.upstream_rq_5xx": true, "cluster.a.outlier_detection.ejections_active": true, "cluster.a.external.upstream_rq_total": true,
		"cluster.a.upstream_cx_length_ms": false, "listener.127.0.0.1_8080.ssl.handshake": true, "listener_manager.listener_added": false,
		"server.live": true, "server.state": false, "overload.envoy.overload_actions.shrink_heap.active": true,
		"overload.envoy.resource_monitors.fixed_heap.pressure": true, "cluster_manager.cds.version": false,
	} {
		if filter.MatchString(name) != want {
			t.Errorf("%s: expected %v of %s", name, want, envoyFilter)
		}
	}
}
