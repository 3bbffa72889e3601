package metrics_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protodelim"

	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/logtest"
	"gatewright.dev/policy-engine/internal/metrics"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/sdk/policy/v1alpha"
)

// setup has metrics, the counters behind them, and the log.
type setup struct {
	*metrics.Metrics
	counters *exchange.Counters
	log      *logtest.Log
}

func newSetup(sources ...metrics.Source) setup {
	log := &logtest.Log{}
	counters := exchange.NewCounters(slog.New(slog.DiscardHandler))
	return setup{metrics.New(metrics.Options{
		Counters: counters, Sources: sources, Log: slog.New(slog.NewTextHandler(log, nil)),
		Node: metrics.Node{
			Version: "1.2.3",
			Bodies:  func() chain.BudgetStats { return chain.BudgetStats{Limit: 100, Held: 7, Refused: 2} },
			Executors: func() []pythonbridge.ProcessStats {
				return []pythonbridge.ProcessStats{
					{Group: "default", Role: "serving", Workers: 32, WorkersBusy: 3, Queued: 4, UnderWay: 5, Streams: 1, WorkersHung: 2,
						Hung: []pythonbridge.HungStats{{Policy: "p:v1.0.0", Count: 2}}},
					{Group: "default", Role: "leaving", Workers: 32, Queued: 1},
				}
			},
			Quarantined: func() []pythonbridge.QuarantineStats {
				return []pythonbridge.QuarantineStats{{Policy: "p:v1.0.0", API: "orders"}, {Policy: "p:v1.0.0", API: "orders"}}
			},
			Generation: func() uint64 { return 3 },
			Node: func() node.Stats {
				return node.Stats{ControllerConnected: true, Revision: 8, APIs: 2, Pending: 1, Applied: 5, Rejected: 1,
					Certificates: map[string]certificates.Warnings{"main": {Ends: time.Unix(1000, 0), Urgent: time.Unix(900, 0)}},
					Gateway:      node.GatewayStats{Closed: []string{"https"}, FailingFiles: []node.FailingFile{{Kind: "authority", Name: "clients", Reason: "…"}}}}
			},
			XDS: func() xds.Stats {
				return xds.Stats{Updates: map[string]xds.UpdateStats{"routes": {Acknowledged: 4, Refused: 1}}}
			},
		},
	}), counters, log}
}

// execute lets executions of a policy end.
func (m setup) execute(labels chain.Labels, all ...chain.Execution) {
	observer := m.counters.Executions(labels)
	for _, item := range all {
		observer.Began()
		observer.Ended(item)
	}
}

// values returns all series in text form.
func (m setup) values(t *testing.T) map[string]string {
	t.Helper()
	byName := map[string]string{}
	for line := range strings.Lines(m.scrape(t, "")) {
		if at := strings.LastIndexByte(line, ' '); at > 0 && !strings.HasPrefix(line, "#") {
			byName[line[:at]] = strings.TrimSpace(line[at:])
		}
	}
	return byName
}

func (m setup) scrape(t *testing.T, accept string) string {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		t.Fatalf("expected 200, got %d: %s", answer.Code, answer.Body.String())
	}
	return answer.Body.String()
}

// expect compares series, by their names and labels; "": absent.
func expect(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for series, value := range want {
		if got[series] != value {
			t.Errorf("%s: expected %q, got %q", series, value, got[series])
		}
	}
}

func labels(api, operation string) chain.Labels {
	return chain.Labels{Policy: "p:v1.0.0", API: api, Operation: operation}
}

func TestTheMetricsOfANode(t *testing.T) {
	m := newSetup()
	m.Apply(metrics.Settings{})
	expect(t, m.values(t), map[string]string{
		`gatewright_build_info{component="policy-engine",version="1.2.3"}`:               "1",
		`gatewright_bodies_held_bytes`:                                                   "7",
		`gatewright_bodies_limit_bytes`:                                                  "100",
		`gatewright_bodies_refused_total`:                                                "2",
		`gatewright_executor_processes{group="default",role="serving"}`:                  "1",
		`gatewright_executor_processes{group="default",role="leaving"}`:                  "1",
		`gatewright_executor_processes{group="default",role="joining"}`:                  "0",
		`gatewright_executor_workers{group="default"}`:                                   "64",
		`gatewright_executor_workers_busy{group="default"}`:                              "3",
		`gatewright_executor_workers_hung{group="default"}`:                              "2",
		`gatewright_executor_queue_depth{group="default"}`:                               "5",
		`gatewright_executor_executions_active{group="default"}`:                         "5",
		`gatewright_executor_streams_active{group="default"}`:                            "1",
		`gatewright_executor_hung_executions{group="default",policy="p:v1.0.0"}`:         "2",
		`gatewright_quarantined_instances{api="orders",policy="p:v1.0.0"}`:               "2",
		`gatewright_generation`:                                                          "3",
		`gatewright_node_controller_connected`:                                           "1",
		`gatewright_node_revision`:                                                       "8",
		`gatewright_node_apis{state="served"}`:                                           "2",
		`gatewright_node_apis{state="pending"}`:                                          "1",
		`gatewright_node_apis{state="unserved"}`:                                         "0",
		`gatewright_node_updates_total{result="applied"}`:                                "5",
		`gatewright_node_updates_total{result="rejected"}`:                               "1",
		`gatewright_xds_updates_total{result="acknowledged",type="routes"}`:              "4",
		`gatewright_xds_updates_total{result="refused",type="routes"}`:                   "1",
		`gatewright_certificate_expiry_timestamp_seconds{name="main"}`:                   "1000",
		`gatewright_certificate_warning_timestamp_seconds{name="main",warning="urgent"}`: "900",
		`gatewright_certificate_files_failing{kind="authority",name="clients"}`:          "1",
		`gatewright_listener_closed{name="https"}`:                                       "1",
		`gatewright_unknown_chain_total`:                                                 "0",
		`gatewright_exchanges_active`:                                                    "0",
	})
}

func TestExecutionsAreExportedByOutcomeAndPhase(t *testing.T) {
	m := newSetup()
	m.Apply(metrics.Settings{})
	failed := func(class v1alpha.FailureClass) chain.Execution {
		return chain.Execution{Phase: chain.PhaseRequest, Failure: v1alpha.Failf(class, "…"), Duration: time.Millisecond, Work: time.Millisecond}
	}
	all := []chain.Execution{{Phase: chain.PhaseRequest, Duration: 3 * time.Millisecond, Work: time.Millisecond, Remote: true},
		{Phase: chain.PhaseResponse, Duration: 2 * time.Second, Work: 2 * time.Second}, {Phase: chain.PhaseRequest, Cancelled: true, Remote: true}}
	want := map[string]string{
		`gatewright_executions_total{api="orders",operation="GET /",outcome="ok",phase="request",policy="p:v1.0.0"}`:        "1",
		`gatewright_executions_total{api="orders",operation="GET /",outcome="ok",phase="response",policy="p:v1.0.0"}`:       "1",
		`gatewright_executions_total{api="orders",operation="GET /",outcome="cancelled",phase="request",policy="p:v1.0.0"}`: "1",
		`gatewright_executions_continued_total{api="orders",operation="GET /",phase="request",policy="p:v1.0.0"}`:           "1",
		`gatewright_executions_continued_total{api="orders",operation="GET /",phase="response",policy="p:v1.0.0"}`:          "",
		`gatewright_executions_skipped_total{api="orders",operation="GET /",policy="p:v1.0.0"}`:                             "1",
		`gatewright_executions_skipped_total{api="skips",operation="GET /",policy="p:v1.0.0"}`:                              "1",
		`gatewright_executions_total{api="skips",operation="GET /",outcome="ok",phase="request",policy="p:v1.0.0"}`:         "",
		// A function that never ran has taken no time; the wait for it has.
		`gatewright_execution_work_seconds_count{api="orders",operation="GET /",phase="request",policy="p:v1.0.0"}`:     "10",
		`gatewright_execution_waiting_seconds_count{api="orders",operation="GET /",phase="request",policy="p:v1.0.0"}`:  "2",
		`gatewright_execution_waiting_seconds_sum{api="orders",operation="GET /",phase="request",policy="p:v1.0.0"}`:    "0.002",
		`gatewright_execution_work_seconds_sum{api="orders",operation="GET /",phase="response",policy="p:v1.0.0"}`:      "2",
		`gatewright_execution_waiting_seconds_count{api="orders",operation="GET /",phase="response",policy="p:v1.0.0"}`: "",
	}
	for n, class := range append(slices.Clone(v1alpha.FailureClasses), chain.ClassCondition) {
		item := failed(class)
		item.Continued = n == 0
		all = append(all, item)
		want[fmt.Sprintf(`gatewright_executions_total{api="orders",operation="GET /",outcome="%s",phase="request",policy="p:v1.0.0"}`, class)] = "1"
	}
	m.execute(labels("orders", "GET /"), all...)
	m.counters.Executions(labels("orders", "GET /")).Add(chain.ExecutionsSkipped, 1)
	m.counters.Executions(labels("skips", "GET /")).Add(chain.ExecutionsSkipped, 1)
	expect(t, m.values(t), want)
}

func TestExchangesAreExported(t *testing.T) {
	m := newSetup()
	m.Apply(metrics.Settings{})
	item := m.counters.Exchanges(chain.Labels{API: "orders", Operation: "GET /"})
	for _, result := range []chain.Result{chain.Completed, chain.Completed, chain.Cancelled, chain.Failed} {
		m.counters.ExchangeBegan()
		item.Ended(result, 20*time.Millisecond)
	}
	m.counters.ExchangeBegan()
	item.Add(chain.BodyBytes[chain.Response], 40)
	item.Identified("jwt")
	item.Identified("jwt")
	item.Identified("")
	item.Planned("gold")
	expect(t, m.values(t), map[string]string{
		`gatewright_exchanges_total{api="orders",operation="GET /",result="completed"}`:          "2",
		`gatewright_exchanges_total{api="orders",operation="GET /",result="cancelled"}`:          "1",
		`gatewright_exchanges_total{api="orders",operation="GET /",result="failed"}`:             "1",
		`gatewright_exchange_duration_seconds_count{api="orders",operation="GET /"}`:             "4",
		`gatewright_exchange_duration_seconds_bucket{api="orders",operation="GET /",le="0.01"}`:  "0",
		`gatewright_exchange_duration_seconds_bucket{api="orders",operation="GET /",le="0.025"}`: "4",
		`gatewright_body_bytes_total{api="orders",direction="response",operation="GET /"}`:       "40",
		`gatewright_body_bytes_total{api="orders",direction="request",operation="GET /"}`:        "",
		`gatewright_identified_exchanges_total{api="orders",method="jwt"}`:                       "2",
		`gatewright_identified_exchanges_total{api="orders",method="other"}`:                     "1",
		`gatewright_plan_exchanges_total{api="orders",plan="gold"}`:                              "1",
		`gatewright_exchanges_active`: "1",
	})
}

// TestIdentitiesAreBounded by the limit on series; no count is lost, and counts once exported as other stay there.
func TestIdentitiesAreBounded(t *testing.T) {
	const name = "gatewright_identified_exchanges_total"
	m := newSetup()
	m.Apply(metrics.Settings{MaxSeries: 100})
	identified := func(prefix string) (observers []chain.ExchangeObserver) {
		for n := range 300 {
			item := m.counters.Exchanges(chain.Labels{API: fmt.Sprint(prefix, n), Operation: "GET /"})
			item.Identified("jwt")
			observers = append(observers, item)
		}
		return observers
	}
	first := identified("first-")
	if series, sum := m.series(t, name); len(series) != 100 || sum != 300 {
		t.Errorf("expected 100 series of 300 exchanges, got %d of %v", len(series), sum)
	}
	for n, item := range first {
		item.Close()
		m.counters.APIRemoved(fmt.Sprint("first-", n))
	}
	if series, sum := m.series(t, name); len(series) != 1 || sum != 201 {
		t.Errorf("expected that of the others alone, got %v of %v", series, sum)
	}
	identified("second-")
	if series, sum := m.series(t, name); len(series) != 100 || sum != 501 {
		t.Errorf("expected 100 series of 501 exchanges, got %d of %v", len(series), sum)
	}
}

// series are those of a metric: of a histogram its counts.
func (m setup) series(t *testing.T, name string) (all []string, sum float64) {
	t.Helper()
	for series, value := range m.values(t) {
		if strings.HasPrefix(series, name+"{") {
			var number float64
			if _, err := fmt.Sscan(value, &number); err != nil {
				t.Fatal(err)
			}
			all = append(all, series)
			sum += number
		}
	}
	return all, sum
}

// TestSeriesAreBounded: 400 operations, each with several outcomes, and no more series than the limit; no count is lost.
func TestSeriesAreBounded(t *testing.T) {
	const most, operations = 100, 400
	m := newSetup()
	m.Apply(metrics.Settings{MaxSeries: most})
	counted := []string{"gatewright_executions_total", "gatewright_executions_continued_total", "gatewright_executions_skipped_total", "gatewright_execution_work_seconds_count",
		"gatewright_execution_waiting_seconds_count", "gatewright_exchanges_total", "gatewright_exchange_duration_seconds_count"}
	for round := 1; round <= 3; round++ {
		for n := range operations {
			operation := fmt.Sprintf("GET /%d", n)
			m.execute(labels("orders", operation), chain.Execution{Phase: chain.PhaseRequest, Duration: 2, Work: 1, Remote: true},
				chain.Execution{Phase: chain.PhaseResponse, Duration: 2, Work: 1, Remote: true, Continued: true, Failure: v1alpha.Failf(v1alpha.ClassTimeout, "…")})
			m.counters.Executions(labels("orders", operation)).Add(chain.ExecutionsSkipped, 1)
			item := m.counters.Exchanges(chain.Labels{API: "orders", Operation: operation})
			item.Ended(chain.Completed, 1)
			item.Ended(chain.Failed, 1)
			item.Add(chain.BodyBytes[chain.Request], 1)
		}
		for _, name := range counted {
			series, sum := m.series(t, name)
			want := float64(2 * operations * round)
			if name == "gatewright_executions_continued_total" || name == "gatewright_executions_skipped_total" {
				want = float64(operations * round)
			}
			if len(series) > most || sum != want {
				t.Errorf("%s, round %d: expected at most %d series and %v in them, got %d and %v", name, round, most, want, len(series), sum)
			}
			if !slices.ContainsFunc(series, func(item string) bool {
				return strings.Contains(item, `api="other"`)
			}) {
				t.Errorf("%s: expected one for the others", name)
			}
		}
	}
}

// TestTheSumOfOthersNeverDecreases: removed series make room for new ones, and counts once exported as other stay there.
func TestTheSumOfOthersNeverDecreases(t *testing.T) {
	m := newSetup()
	m.Apply(metrics.Settings{MaxSeries: 100})
	other := `gatewright_executions_total{api="other",operation="other",outcome="ok",phase="request",policy="other"}`
	observers := map[string][]chain.ExecutionObserver{}
	run := func(api string, operations int) {
		for n := range operations {
			item := m.counters.Executions(labels(api, fmt.Sprintf("GET /%d", n)))
			item.Began()
			item.Ended(chain.Execution{Phase: chain.PhaseRequest})
			observers[api] = append(observers[api], item)
		}
	}
	remove := func(api string) {
		for _, item := range observers[api] {
			item.Close()
		}
		m.counters.APIRemoved(api)
	}
	run("first", 200)
	before := m.values(t)[other]
	if before == "" {
		t.Fatal("expected others")
	}
	remove("first")
	run("second", 200)
	var was, is float64
	_, _ = fmt.Sscan(before, &was)
	_, _ = fmt.Sscan(m.values(t)[other], &is)
	series, _ := m.series(t, "gatewright_executions_total")
	if is < was || len(series) > 100 || !slices.ContainsFunc(series, func(item string) bool { return strings.Contains(item, `api="second"`) }) {
		t.Errorf("expected at least %v others and the second API within 100, got %v of %d", was, is, len(series))
	}
	if slices.ContainsFunc(series, func(item string) bool { return strings.Contains(item, `api="first"`) }) {
		t.Errorf("expected nothing of the API that has gone, got %v", series)
	}
}

func TestOperationsMayBeCountedTogether(t *testing.T) {
	m := newSetup()
	m.Apply(metrics.Settings{WithoutOperations: true})
	for _, operation := range []string{"GET /a", "GET /b"} {
		m.execute(labels("orders", operation), chain.Execution{Phase: chain.PhaseRequest, Duration: time.Second, Work: time.Second})
		m.counters.Exchanges(chain.Labels{API: "orders", Operation: operation}).Ended(chain.Completed, time.Second)
	}
	expect(t, m.values(t), map[string]string{
		`gatewright_executions_total{api="orders",operation="",outcome="ok",phase="request",policy="p:v1.0.0"}`: "2",
		`gatewright_execution_work_seconds_count{api="orders",operation="",phase="request",policy="p:v1.0.0"}`:  "2",
		`gatewright_exchanges_total{api="orders",operation="",result="completed"}`:                              "2",
		`gatewright_exchange_duration_seconds_sum{api="orders",operation=""}`:                                   "2",
	})
}

// TestSettingsChangeWhileExecutionsEnd: counters go on under all settings.
func TestSettingsChangeWhileExecutionsEnd(t *testing.T) {
	m := newSetup()
	var running sync.WaitGroup
	stop := make(chan struct{})
	running.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				m.Apply(metrics.Settings{Disabled: n%3 == 0, WithoutOperations: n%2 == 0, MaxSeries: 100 + n%5})
				m.values(t)
			}
		}
	})
	var executing sync.WaitGroup
	for range 4 {
		executing.Go(func() {
			for n := range 700 {
				m.execute(labels("orders", fmt.Sprintf("GET /%d", n%7)), chain.Execution{Phase: chain.PhaseRequest, Duration: 1, Work: 1})
			}
		})
	}
	executing.Wait()
	close(stop)
	running.Wait()
	m.Apply(metrics.Settings{Disabled: true})
	if series, _ := m.series(t, "gatewright_executions_total"); len(series) > 0 {
		t.Errorf("expected nothing of executions while that is disabled, got %v", series)
	}
	m.Apply(metrics.Settings{})
	m.execute(labels("orders", "GET /0"), chain.Execution{Phase: chain.PhaseRequest})
	value := m.values(t)[`gatewright_executions_total{api="orders",operation="GET /0",outcome="ok",phase="request",policy="p:v1.0.0"}`]
	if want := fmt.Sprint(4*700/7 + 1); value != want {
		t.Errorf("expected %s, got %s", want, value)
	}
}

// TestProtobufHasNativeHistograms beside the classic ones, for scrapers that request it.
func TestProtobufHasNativeHistograms(t *testing.T) {
	m := newSetup()
	m.Apply(metrics.Settings{})
	m.execute(labels("orders", "GET /"), chain.Execution{Phase: chain.PhaseRequest, Duration: 3 * time.Millisecond, Work: 3 * time.Millisecond})
	body := bufio.NewReader(strings.NewReader(m.scrape(t, string(expfmt.NewFormat(expfmt.TypeProtoDelim)))))
	byName := map[string]*dto.MetricFamily{}
	for {
		family := &dto.MetricFamily{}
		if err := protodelim.UnmarshalFrom(body, family); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		byName[family.GetName()] = family
	}
	family := byName["gatewright_execution_work_seconds"]
	if family == nil {
		t.Fatal("expected the histogram")
	}
	histogram := family.GetMetric()[0].GetHistogram()
	if histogram.Schema == nil || histogram.GetSchema() != 3 || len(histogram.GetPositiveDelta()) != 1 || len(histogram.GetBucket()) != 14 {
		t.Errorf("expected 14 classic buckets and a native one of factor 1.1, got %v", histogram)
	}
}

func TestOpenMetricsEndsAsItMust(t *testing.T) {
	m := newSetup()
	m.Apply(metrics.Settings{})
	m.execute(labels("orders", "GET /"), chain.Execution{Phase: chain.PhaseRequest})
	text := m.scrape(t, "application/openmetrics-text; version=1.0.0")
	if !strings.HasSuffix(text, "# EOF\n") || !strings.Contains(text, "# TYPE gatewright_executions counter\n") ||
		!strings.Contains(text, `gatewright_executions_total{`) {
		t.Errorf("expected OpenMetrics, got %s", text)
	}
}

// TestAnotherGathererAddsMetrics: policies' own metrics come from another gatherer.
func TestAnotherGathererAddsMetrics(t *testing.T) {
	m := newSetup()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "policy_denied_total", Help: "…"}, []string{"policy"})
	registry.MustRegister(counter)
	counter.WithLabelValues("p:v1.0.0").Add(3)
	m.Add(registry)
	want := map[string]string{`policy_denied_total{policy="p:v1.0.0"}`: "3"}
	expect(t, m.values(t), want)
	m.Apply(metrics.Settings{})
	expect(t, m.values(t), want)
}

// TestWarningsEnd: an invalid metric of a policy may produce another text at each scrape.
func TestWarningsEnd(t *testing.T) {
	m := newSetup()
	scrapes := 0
	m.Add(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		scrapes++
		return nil, fmt.Errorf("a value of %d", scrapes/2)
	}))
	for range 400 {
		if _, err := m.Gather(); err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(m.log.String(), "a value of"); lines != 100 || strings.Count(m.log.String(), `"a value of 7"`) != 1 {
		t.Errorf("expected 100 lines, each once, got %d", lines)
	}
}

func TestShadowsAreExportedSeparately(t *testing.T) {
	m := newSetup()
	m.Apply(metrics.Settings{})
	of := labels("orders", "GET /")
	m.execute(of, chain.Execution{Phase: chain.PhaseRequest})
	of.Shadow = true
	m.execute(of, chain.Execution{Phase: chain.PhaseRequest, Shadow: chain.ShadowSame, Duration: time.Second},
		chain.Execution{Phase: chain.PhaseRequest, Shadow: chain.ShadowDifferent, Duration: 3 * time.Second, Work: time.Second, Remote: true},
		chain.Execution{Phase: chain.PhaseResponse, Shadow: chain.ShadowDifferent},
		chain.Execution{Phase: chain.PhaseRequest, Shadow: chain.ShadowFailed, Failure: v1alpha.Failf(v1alpha.ClassTimeout, "late"), Duration: time.Second},
		chain.Execution{Phase: chain.PhaseRequest, Shadow: chain.ShadowSkipped, Cancelled: true})
	expect(t, m.values(t), map[string]string{
		`gatewright_executions_total{api="orders",operation="GET /",outcome="ok",phase="request",policy="p:v1.0.0"}`:                "1",
		`gatewright_executions_total{api="orders",operation="GET /",outcome="timeout",phase="request",policy="p:v1.0.0"}`:           "",
		`gatewright_shadow_executions_total{api="orders",operation="GET /",outcome="same",phase="request",policy="p:v1.0.0"}`:       "1",
		`gatewright_shadow_executions_total{api="orders",operation="GET /",outcome="different",phase="request",policy="p:v1.0.0"}`:  "1",
		`gatewright_shadow_executions_total{api="orders",operation="GET /",outcome="different",phase="response",policy="p:v1.0.0"}`: "1",
		`gatewright_shadow_executions_total{api="orders",operation="GET /",outcome="failed",phase="request",policy="p:v1.0.0"}`:     "1",
		`gatewright_shadow_executions_total{api="orders",operation="GET /",outcome="skipped",phase="request",policy="p:v1.0.0"}`:    "1",
		`gatewright_shadow_execution_work_seconds_sum{api="orders",operation="GET /",phase="request",policy="p:v1.0.0"}`:            "3",
		`gatewright_shadow_execution_waiting_seconds_sum{api="orders",operation="GET /",phase="request",policy="p:v1.0.0"}`:         "2",
		`gatewright_execution_work_seconds_count{api="orders",operation="GET /",phase="request",policy="p:v1.0.0"}`:                 "1",
	})
}

// TestShadowsBeyondTheBoundAreSummedUp, and take no series from applied executions.
func TestShadowsBeyondTheBoundAreSummedUp(t *testing.T) {
	m := newSetup()
	m.Apply(metrics.Settings{MaxSeries: 50})
	for n := range 80 {
		of := labels(fmt.Sprint("api", n), "GET /")
		of.Shadow = true
		m.execute(of, chain.Execution{Phase: chain.PhaseRequest, Shadow: chain.ShadowSame})
	}
	m.execute(labels("orders", "GET /"), chain.Execution{Phase: chain.PhaseRequest})
	got := m.values(t)
	expect(t, got, map[string]string{
		`gatewright_executions_total{api="orders",operation="GET /",outcome="ok",phase="request",policy="p:v1.0.0"}`:      "1",
		`gatewright_shadow_executions_total{api="other",operation="other",outcome="same",phase="request",policy="other"}`: "46",
	})
	count := 0
	for series := range got {
		if strings.HasPrefix(series, "gatewright_shadow_executions_total") {
			count++
		}
	}
	if count > 50 {
		t.Errorf("expected at most 50 series, got %d", count)
	}
}
