package chain_test

import (
	"encoding/json"
	"maps"
	"os"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// TestPathParams checks conformance/path_params.json, which applies to the controller's routes and the Python SDK as
// well.
func TestPathParams(t *testing.T) {
	text, err := os.ReadFile("../../../../conformance/path_params.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Context, Template, Path string
		Params                  map[string]string // null: no such path comes
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("expected cases, got %v, %v", cases, err)
	}
	for _, c := range cases {
		if c.Params == nil {
			continue
		}
		for _, operation := range []string{"GET " + c.Template, "GET " + c.Template + " [x-a=b {c}]"} {
			got := map[string]string{}
			for _, param := range chain.PathParamsOf(chain.NewPathTemplate(c.Context, operation), c.Path) {
				got[param.Name] = v1alpha.PathParams{param}.Get(param.Name)
			}
			if !maps.Equal(got, c.Params) {
				t.Errorf("%s of %s in %s: expected %q, got %q", operation, c.Context, c.Path, c.Params, got)
			}
		}
	}
}

func TestATemplateWithoutParametersCostsNothing(t *testing.T) {
	if allocations := testing.AllocsPerRun(100, func() {
		if params := chain.PathParamsOf(template, "/a/b/c"); params != nil {
			t.Errorf("expected none, got %v", params)
		}
	}); allocations != 0 {
		t.Errorf("expected no allocation, got %v", allocations)
	}
	if allocations := testing.AllocsPerRun(100, func() { chain.PathParamsOf(withTwo, "/a/b/c") }); allocations != 1 {
		t.Errorf("expected one allocation, got %v", allocations)
	}
}

var template, withTwo = chain.NewPathTemplate("/a", "GET /b/*"), chain.NewPathTemplate("/a", "GET /{b}/{c}")

func TestAPathWithFewerSegmentsHasFewerParameters(t *testing.T) {
	for path, expected := range map[string]int{"": 0, "/": 0, "/a": 0, "/a/": 0, "/a/b": 1, "/a/b/": 1, "/a//c": 1, "/a/b/c/d": 2} {
		if got := chain.PathParamsOf(withTwo, path); len(got) != expected {
			t.Errorf("%q: expected %d, got %v", path, expected, got)
		}
	}
}
