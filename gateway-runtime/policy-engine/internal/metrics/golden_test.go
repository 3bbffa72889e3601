package metrics_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/metrics"
	"gatewright.dev/sdk/policy/v1alpha"
)

// requestPath are the metrics of exchanges and executions. Of these the golden file leaves out the buckets, and the APIs
// between those at which a bound on series is reached.
var (
	requestPath = regexp.MustCompile(`gatewright_(exchange|body_bytes|execution|shadow|identified|plan_exchanges|unknown_chain)`)
	leftOut     = regexp.MustCompile(`_bucket{|"api-(0[13-9]|1[0-3])"`)
)

// TestTheTextOfTheRequestPathsMetrics: names, help, labels and values, with APIs that have gone, with other settings, and
// beyond the bound on series.
func TestTheTextOfTheRequestPathsMetrics(t *testing.T) {
	m := newSetup()
	m.Apply(metrics.Settings{})
	m.counters.ChainUnknown(exchange.UnknownChain{RequestID: "id-1", ChainID: "c", Route: "r"})
	for _, api := range []string{"stays", "goes", "returns"} {
		m.traffic(api, "GET /", func() {})
	}
	m.values(t) // so that all have series of their own
	got := ""
	m.counters.APIRemoved("goes")
	m.counters.APIRemoved("returns")
	m.traffic("returns", "GET /", func() {})
	got += m.requestPath(t, "one API without goes, and one again")
	m.Apply(metrics.Settings{WithoutOperations: true})
	m.traffic("stays", "GET /other", func() {})
	got += m.requestPath(t, "without operations")
	m.Apply(metrics.Settings{Disabled: true})
	got += m.requestPath(t, "disabled")
	m.Apply(metrics.Settings{MaxSeries: 60})
	for n := range 16 {
		m.traffic(fmt.Sprintf("api-%02d", n), "GET /", func() { m.values(t) }) // so that the first ones get series of their own
	}
	m.counters.APIRemoved("api-00")
	m.counters.APIRemoved("api-15")
	got += m.requestPath(t, "60 series")

	const golden = "testdata/request-path.prom"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || string(want) != got {
		t.Errorf("expected the text of %s (%v), got\n%s", golden, err, got)
	}
}

// traffic has everything counted that happens in an operation, in a chain that then ends. It calls next after each phase.
func (m setup) traffic(api, operation string, next func()) {
	of := chain.Labels{API: api, Operation: operation}
	exchanges := m.counters.Exchanges(of)
	of.Policy = "p:v1.0.0"
	executions := m.counters.Executions(of)
	of.Shadow = true
	shadows := m.counters.Executions(of)
	exchanges.Add(chain.BodyBytes[chain.Request], 3)
	exchanges.Add(chain.BodyBytes[chain.Response], 5)
	exchanges.Identified("jwt")
	exchanges.Planned("gold")
	for _, result := range []chain.Result{chain.Completed, chain.Cancelled, chain.Failed} {
		m.counters.ExchangeBegan()
		exchanges.Ended(result, time.Millisecond)
	}
	executions.Add(chain.ExecutionsSkipped, 1)
	for _, phase := range exchange.Phases {
		for _, execution := range []chain.Execution{
			{Phase: phase, Duration: time.Millisecond}, {Phase: phase, Duration: 3 * time.Millisecond, Work: time.Millisecond, Remote: true},
			{Phase: phase, Cancelled: true}, {Phase: phase, Failure: v1alpha.Failf(v1alpha.ClassTimeout, "late"), Continued: true},
			{Phase: phase, Failure: v1alpha.Failf("unheard", "of")},
		} {
			executions.Began()
			executions.Ended(execution)
		}
		for outcome := chain.ShadowSame; outcome <= chain.ShadowSkipped; outcome++ {
			shadows.Began()
			shadows.Ended(chain.Execution{Phase: phase, Shadow: outcome, Duration: time.Millisecond})
		}
		next()
	}
	exchanges.Close()
	executions.Close()
	shadows.Close()
}

// requestPath returns the text of the metrics of exchanges and executions, under a title.
func (m setup) requestPath(t *testing.T, title string) string {
	t.Helper()
	text := "# " + title + "\n"
	for line := range strings.Lines(m.scrape(t, "")) {
		if requestPath.MatchString(line) && !leftOut.MatchString(line) {
			text += line
		}
	}
	return text + "\n"
}
