package chain_test

import (
	"encoding/json"
	"os"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
)

// TestUpstreamPaths checks the table that the controller and the SDK are checked against, too.
func TestUpstreamPaths(t *testing.T) {
	text, err := os.ReadFile("../../../../conformance/upstream_paths.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Cases []struct {
			Name, Context string
			Rows          []chain.UpstreamPath
			Paths         [][3]*string
		}
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	for _, example := range table.Cases {
		for _, path := range example.Paths {
			expected := ""
			if path[2] != nil {
				expected = *path[2]
			}
			if got, err := chain.UpstreamPathOf(example.Rows, example.Context, *path[0], *path[1]); err != nil || got != expected {
				t.Errorf("%s: %s to %q: expected %q, got %q, %v", example.Name, *path[0], *path[1], expected, got, err)
			}
		}
	}
}

func TestAnInvalidPatternRefusesTheChain(t *testing.T) {
	if _, err := chain.UpstreamPathOf([]chain.UpstreamPath{{Upstream: "main", Pattern: "("}}, "/", "/", "main"); err == nil {
		t.Error("expected an error, got none")
	}
}
