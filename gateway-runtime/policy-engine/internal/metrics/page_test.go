package metrics_test

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
)

var update = flag.Bool("update", false, "rewrite the golden file, and add rows for new counters to docs/reference/metrics.md")

const metricsPage = "../../../../docs/reference/metrics.md"

// row is a counter's row of the page: its labels, and what is counted.
var row = regexp.MustCompile("^\\| `gatewright_\\w+` \\|([^|]*)\\| counter: (.*) \\|$")

// TestThePageListsTheCounters: a row for each, with its labels and the values of its own label. With -update, a counter
// without a row gets one of its help text, after the row of the counter that is declared before it.
func TestThePageListsTheCounters(t *testing.T) {
	text, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for _, table := range []chain.CounterTable{chain.EngineCounters, chain.ExchangeCounters, chain.ExecutionCounters} {
		before := -1 // the line of the counter before
		for _, counter := range table.All {
			at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "| `gatewright_"+counter.Name+"` |") })
			if at < 0 && *update && before >= 0 {
				at = before + 1
				lines = slices.Insert(lines, at, rowOf(&counter))
			}
			if before = at; at < 0 {
				t.Errorf("gatewright_%s has no row in docs/reference/metrics.md; go test with -update for this package writes one", counter.Name)
				continue
			}
			expectRow(t, &counter, lines[at])
		}
	}
	if *update {
		if err := os.WriteFile(metricsPage, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func rowOf(counter *chain.Counter) string {
	help := strings.ToLower(counter.Help[:1]) + strings.TrimSuffix(counter.Help[1:], ".")
	if counter.Label != "" {
		help += ". `" + counter.Label + "`: " + asCode(counter.Values)
	}
	labels := " "
	if len(counter.Labels()) > 0 {
		labels = " " + asCode(counter.Labels()) + " "
	}
	return "| `gatewright_" + counter.Name + "` |" + labels + "| counter: " + help + " |"
}

func expectRow(t *testing.T, counter *chain.Counter, line string) {
	t.Helper()
	cells := row.FindStringSubmatch(line)
	if cells == nil {
		t.Errorf("gatewright_%s: expected a row such as %s, got %s", counter.Name, rowOf(counter), line)
		return
	}
	if labels := strings.TrimSpace(cells[1]); labels != asCode(counter.Labels()) {
		t.Errorf("gatewright_%s: expected the labels %s, got %s", counter.Name, asCode(counter.Labels()), labels)
	}
	for _, value := range counter.Values {
		if value != "" && !strings.Contains(cells[2], "`"+value+"`") {
			t.Errorf("gatewright_%s: expected `%s` among the values of %s, got %s", counter.Name, value, counter.Label, cells[2])
		}
	}
}

// asCode returns names as Markdown: `api`, `operation`.
func asCode(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "`" + strings.Join(names, "`, `") + "`"
}
