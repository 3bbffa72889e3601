package notes_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/notes"
)

// TestNotes compares the notes with conformance/notes.json, which the programs that show them read too.
func TestNotes(t *testing.T) {
	text, err := os.ReadFile("../../../../conformance/notes.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases struct {
		Now   time.Time `json:"now"`
		Cases []struct {
			Name  string          `json:"name"`
			Facts notes.Facts     `json:"facts"`
			Envoy json.RawMessage `json:"envoy"`
			Notes []notes.Note    `json:"notes"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if c.Envoy != nil {
				if c.Facts.Targets, err = notes.ReadTargets(strings.NewReader(string(c.Envoy))); err != nil {
					t.Fatal(err)
				}
			}
			if got := notes.Make(&c.Facts, cases.Now); !reflect.DeepEqual(got, c.Notes) {
				shown, _ := json.MarshalIndent(got, "", "  ")
				t.Errorf("expected the notes of the case, got\n%s", shown)
			}
		})
	}
}

// TestNotesWithoutEnvoy: there are no targets, and no notes about upstreams.
func TestNotesWithoutEnvoy(t *testing.T) {
	if targets, err := (notes.Envoy{Socket: t.TempDir() + "/none.sock"}).Targets(t.Context()); err == nil || targets != nil {
		t.Errorf("expected an error, got %v", targets)
	}
	if _, err := notes.ReadTargets(strings.NewReader("no JSON")); err == nil {
		t.Error("expected an error")
	}
	if made := notes.Make(&notes.Facts{Clusters: map[string][]string{"orders": {"a|1"}}}, time.Now()); len(made) != 0 {
		t.Errorf("expected no note, got %v", made)
	}
}
