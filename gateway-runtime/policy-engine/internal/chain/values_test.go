package chain

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

// valueTable is one kind of value in conformance/action-values.json, which applies to Python policies as well.
type valueTable struct {
	Characters string `json:"characters"`
	AllBut     []int  `json:"allBut"`
	Taken      []string
	Refused    []string
}

func (v valueTable) takesCharacter(c int) bool {
	if v.AllBut != nil {
		return !slices.Contains(v.AllBut, c)
	}
	return strings.ContainsRune(v.Characters, rune(c))
}

func readValueTables(t *testing.T) map[string]valueTable {
	t.Helper()
	text, err := os.ReadFile("../../../../conformance/action-values.json")
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &parts); err != nil {
		t.Fatal(err)
	}
	delete(parts, "about")
	tables := map[string]valueTable{}
	for kind, part := range parts {
		var table valueTable
		if err := json.Unmarshal(part, &table); err != nil {
			t.Fatal(kind, err)
		}
		tables[kind] = table
	}
	return tables
}

var valueChecks = map[string]func(string) error{
	"headerName": func(name string) error { return checkHeader(v1alpha.Header{Name: name, Value: "b"}, true) },
	"headerValue": func(value string) error {
		return checkHeader(v1alpha.Header{Name: "x-a", Value: latin1(value)}, true)
	},
	"path":   func(path string) error { return checkPath(path, "/orders") },
	"query":  func(q string) error { return checkRequest(&v1alpha.UpstreamRequestModifications{Query: &q}, "/", nil) },
	"method": func(m string) error { return checkRequest(&v1alpha.UpstreamRequestModifications{Method: &m}, "/", nil) },
	"authority": func(a string) error {
		return checkRequest(&v1alpha.UpstreamRequestModifications{Authority: &a}, "/", nil)
	},
}

// latin1 is a value whose characters are bytes.
func latin1(value string) string {
	var octets []byte
	for _, r := range value {
		octets = append(octets, byte(r))
	}
	return string(octets)
}

func TestValuesAreAcceptedOrRefusedAsInTheTable(t *testing.T) {
	tables := readValueTables(t)
	if len(tables) != len(valueChecks) {
		t.Fatalf("expected a check for each kind of value, got %d for %d", len(valueChecks), len(tables))
	}
	for kind, table := range tables {
		check, before := valueChecks[kind], "x"
		if kind == "path" {
			before = "/orders/x"
		}
		for c := range 256 {
			if got, want := check(before+string(rune(c))+"y") == nil, table.takesCharacter(c); got != want {
				t.Errorf("%s with %#x: expected taken to be %v, got %v", kind, c, want, got)
			}
		}
		for _, value := range table.Taken {
			if err := check(value); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		for _, value := range table.Refused {
			if check(value) == nil {
				t.Errorf("%s: expected %q to be refused", kind, value)
			}
		}
	}
}
