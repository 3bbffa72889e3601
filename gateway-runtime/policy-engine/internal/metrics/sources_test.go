package metrics_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/metrics"
)

// source serves a text on a Unix socket until the test ends.
func source(t *testing.T, name string, answer http.HandlerFunc) metrics.Source {
	t.Helper()
	directory, err := os.MkdirTemp("", "m") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(directory, "s")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: answer, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		_ = os.RemoveAll(directory)
	})
	return metrics.Source{Name: name, Socket: path, Path: "/metrics"}
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

func TestMetricsOfOtherProcessesAreMerged(t *testing.T) {
	m := newSetup(
		source(t, "supervisor", says(`# HELP gatewright_build_info 1, by version.
# TYPE gatewright_build_info gauge
gatewright_build_info{component="supervisor",version="1.2.3"} 1
# TYPE gatewright_process_up gauge
gatewright_process_up{component="envoy"} 1
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 2
# TYPE reload_created gauge
reload_created 1.7e9
`)),
		source(t, "controller", says(`# TYPE gatewright_build_info gauge
gatewright_build_info{component="controller",version="1.2.3"} 1
gatewright_build_info{component="supervisor",version="1.2.3"} 1
# TYPE gatewright_generation counter
gatewright_generation 3
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 5
# TYPE gatewright_controller_request_duration_seconds histogram
gatewright_controller_request_duration_seconds_bucket{le="1"} 2
gatewright_controller_request_duration_seconds_bucket{le="+Inf"} 3
gatewright_controller_request_duration_seconds_sum 4
gatewright_controller_request_duration_seconds_count 3
`)))
	m.Apply(metrics.Settings{})
	expect(t, m.values(t), map[string]string{
		`gatewright_build_info{component="policy-engine",version="1.2.3"}`: "1",
		`gatewright_build_info{component="supervisor",version="1.2.3"}`:    "1",
		`gatewright_build_info{component="controller",version="1.2.3"}`:    "1",
		`gatewright_process_up{component="envoy"}`:                         "1",
		`process_cpu_seconds_total{component="supervisor"}`:                "2",
		`process_cpu_seconds_total{component="controller"}`:                "5",
		`reload_created`:                                                "",
		`reload_created{component="supervisor"}`:                        "",
		`gatewright_controller_request_duration_seconds_bucket{le="1"}`: "2",
		`gatewright_controller_request_duration_seconds_count`:          "3",
		`gatewright_metrics_source_up{source="supervisor"}`:             "1",
		`gatewright_metrics_source_up{source="controller"}`:             "1",
		`gatewright_generation`:                                         "3",
	})
	text := m.scrape(t, "")
	if n := strings.Count(m.log.String(), "a metric is left out"); n != 2 {
		t.Errorf("expected each to be logged once, got %s", m.log)
	}
	if n := strings.Count(text, "# TYPE gatewright_build_info gauge"); n != 1 {
		t.Errorf("expected one family, got %d", n)
	}
	for _, text := range []string{"metric=gatewright_generation source=controller", "expected type GAUGE, got COUNTER",
		"metric=gatewright_build_info source=controller", "another process exports the same labels"} {
		if !strings.Contains(m.log.String(), text) {
			t.Errorf("expected %q in the log, got %s", text, m.log)
		}
	}
}

// TestASourceThatDoesNotAnswerIsLeftOut, for any failure; the other sources are exported, and the failure is logged once.
func TestASourceThatDoesNotAnswerIsLeftOut(t *testing.T) {
	hangs := make(chan struct{})
	defer close(hangs)
	m := newSetup(
		metrics.Source{Name: "absent", Socket: "/no/such/socket", Path: "/metrics"},
		source(t, "silent", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hangs:
			case <-r.Context().Done():
			}
		}),
		source(t, "broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }),
		source(t, "garbled", says("no metrics { at all\n")),
		source(t, "good", says("gatewright_reloads_total 1\n")),
	)
	expect(t, m.values(t), map[string]string{
		`gatewright_metrics_source_up{source="absent"}`:  "0",
		`gatewright_metrics_source_up{source="silent"}`:  "0",
		`gatewright_metrics_source_up{source="broken"}`:  "0",
		`gatewright_metrics_source_up{source="garbled"}`: "0",
		`gatewright_metrics_source_up{source="good"}`:    "1",
		`gatewright_reloads_total`:                       "1",
		`gatewright_generation`:                          "3",
	})
	m.values(t)
	for text, times := range map[string]int{"no answer within 1s": 1, "expected status 200": 1, "expected metrics as Prometheus' text": 1, "no such file": 1} {
		if got := strings.Count(m.log.String(), text); got != times {
			t.Errorf("expected %q once, got it %d times in %s", text, got, m.log)
		}
	}
}

// TestTheReasonOfASourceThatFailsIsKept until it answers again, for the node's stats.
func TestTheReasonOfASourceThatFailsIsKept(t *testing.T) {
	text := "LookupError: no version of it\nand more"
	m := newSetup(source(t, "supervisor", func(w http.ResponseWriter, _ *http.Request) {
		if text != "" {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(text))
		}
	}))
	fails := func(want map[string]string) {
		t.Helper()
		if got := m.Failing(); !maps.Equal(got, want) {
			t.Errorf("expected %q, got %q", want, got)
		}
	}
	fails(nil)
	m.values(t)
	fails(map[string]string{"supervisor": "expected status 200, got 500 Internal Server Error: LookupError: no version of it"})
	text = strings.Repeat("x", 10_000)
	m.values(t)
	fails(map[string]string{"supervisor": "expected status 200, got 500 Internal Server Error: " + strings.Repeat("x", 200)})
	text = ""
	m.values(t)
	fails(nil)
}

func TestTheRecoveryOfASourceIsLogged(t *testing.T) {
	down := true
	m := newSetup(source(t, "controller", func(w http.ResponseWriter, _ *http.Request) {
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	m.values(t)
	down = false
	expect(t, m.values(t), map[string]string{`gatewright_metrics_source_up{source="controller"}`: "1"})
	if !strings.Contains(m.log.String(), "a source of metrics answers again") {
		t.Errorf("got %s", m.log)
	}
}

// TestEnvoysMetricsAreSelected: others are left out, names stay unchanged, and the first clusters keep their place.
func TestEnvoysMetricsAreSelected(t *testing.T) {
	clusters := []string{"a"}
	asked := ""
	envoy := source(t, metrics.Envoy, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery
		_, _ = fmt.Fprint(w, "# TYPE envoy_http_downstream_rq_xx counter\n",
			"envoy_http_downstream_rq_xx{envoy_response_code_class=\"2\",envoy_http_conn_manager_prefix=\"gatewright\"} 4\n",
			"envoy_http_downstream_rq_xx{envoy_response_code_class=\"2\",envoy_http_conn_manager_prefix=\"admin\"} 9\n",
			"# TYPE envoy_server_memory_allocated gauge\nenvoy_server_memory_allocated 5\n",
			"# TYPE envoy_cluster_manager_cds_version gauge\nenvoy_cluster_manager_cds_version 5\n",
			"# TYPE envoy_cluster_upstream_rq_total counter\n")
		for _, cluster := range clusters {
			_, _ = fmt.Fprintf(w, "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"%s\"} 1\n", cluster)
		}
	})
	m := newSetup(envoy)
	expect(t, m.values(t), map[string]string{
		`envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="gatewright"}`: "4",
		`envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="admin"}`:      "",
		`envoy_server_memory_allocated`:                           "5",
		`envoy_cluster_manager_cds_version`:                       "",
		`envoy_cluster_upstream_rq_total{envoy_cluster_name="a"}`: "1",
		`gatewright_metrics_clusters_left_out`:                    "0",
	})
	if !strings.Contains(asked, "usedonly") || !strings.Contains(asked, "upstream_rq_total") {
		t.Errorf("expected requests to Envoy for the exported statistics only, got %s", asked)
	}
	if text := m.scrape(t, "application/openmetrics-text"); !strings.Contains(text, "# TYPE envoy_http_downstream_rq_xx unknown") ||
		strings.Contains(text, "downstream_rq_xx_total") {
		t.Errorf("expected Envoy's name in OpenMetrics too, got %s", text)
	}
	clusters = nil
	for n := range metrics.MaxClusters + 10 {
		clusters = append(clusters, fmt.Sprintf("0-%04d", n)) // before a in the alphabet
	}
	clusters = append(clusters, "a")
	got := m.values(t)
	expect(t, got, map[string]string{
		`envoy_cluster_upstream_rq_total{envoy_cluster_name="a"}`: "1",
		`gatewright_metrics_clusters_left_out`:                    "11",
	})
	if series, _ := m.series(t, "envoy_cluster_upstream_rq_total"); len(series) != metrics.MaxClusters {
		t.Errorf("expected %d clusters, got %d", metrics.MaxClusters, len(series))
	}
}

func TestSourcesOfTheCommandLine(t *testing.T) {
	for text, want := range map[string]metrics.Source{
		"controller=unix:/run/c.sock":              {Name: "controller", Socket: "/run/c.sock", Path: "/metrics"},
		"envoy=unix:/run/e.sock:/stats/prometheus": {Name: "envoy", Socket: "/run/e.sock", Path: "/stats/prometheus"},
	} {
		if got, err := metrics.ParseSource(text); err != nil || got != want {
			t.Errorf("%s: expected %+v, got %+v, %v", text, want, got, err)
		}
	}
	for _, text := range []string{"", "controller", "controller=/run/c.sock", "=unix:/run/c.sock", "c=unix:run", "c=unix:/run/c.sock:metrics"} {
		if _, err := metrics.ParseSource(text); err == nil || !strings.Contains(err.Error(), "expected NAME=unix:PATH[:/path]") {
			t.Errorf("%q: expected to be refused, got %v", text, err)
		}
	}
}
