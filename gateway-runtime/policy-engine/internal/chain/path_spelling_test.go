package chain_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

type requestViews struct {
	Paths []struct {
		Operation, Raw, Path string
		Strict               *bool
		Segments             []string
	}
	Hosts []struct{ Authority, Host string }
}

// TestRequestViews checks path, segments and host against the table for all of their readers.
func TestRequestViews(t *testing.T) {
	text, err := os.ReadFile("../../../../conformance/request_views.json")
	if err != nil {
		t.Fatal(err)
	}
	var views requestViews
	if err := json.Unmarshal(text, &views); err != nil {
		t.Fatal(err)
	}
	for _, view := range views.Paths {
		path := chain.SpellPath(view.Strict == nil || *view.Strict, view.Operation, view.Raw)
		segments := (&v1alpha.RequestContext{Path: path}).PathSegments()
		if path != view.Path || !slices.Equal(segments, view.Segments) {
			t.Errorf("%s of %q: expected %q %q, got %q %q", view.Raw, view.Operation, view.Path, view.Segments, path, segments)
		}
	}
	for _, view := range views.Hosts {
		if host := (&v1alpha.RequestContext{Authority: view.Authority}).Host(); host != view.Host {
			t.Errorf("%q: expected %q, got %q", view.Authority, view.Host, host)
		}
	}
}

// TestAPathHasOneSpelling: spelling it again changes nothing, and it leads to the same resource.
func TestAPathHasOneSpelling(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		segments := rapid.SliceOf(rapid.StringOfN(rapid.SampledFrom([]rune("ab%2345fFcC:;[ é")), 1, -1, -1)).Draw(t, "segments")
		raw := "/" + strings.Join(segments, "/") + rapid.SampledFrom([]string{"", "/"}).Draw(t, "slash")
		spelled := chain.SpellPath(true, "GET /*", raw)
		if again := chain.SpellPath(true, "GET /*", spelled); again != spelled && raw != "//" {
			t.Fatalf("%q: %q, then %q", raw, spelled, again)
		}
		of := func(path string) []string { return (&v1alpha.RequestContext{Path: path}).PathSegments() }
		if !slices.Equal(of(raw), of(spelled)) {
			t.Fatalf("%q is %q, spelled %q it is %q", raw, of(raw), spelled, of(spelled))
		}
	})
}

func TestPoliciesSeeOneSpellingAndUpstreamTheClients(t *testing.T) {
	x := get()
	x.request.Path = "/orders/a%3ab/?q=%3a"
	var path, raw string
	looks := &does{request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		path, raw = r.Path, r.RawPath
		return nil, nil
	}}
	query := "q=2"
	sets := &does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return &v1alpha.UpstreamRequestModifications{Query: &query}, nil
	}}
	if err := x.run(t, x.policy(looks, "h"), x.policy(sets, "h")); err != nil {
		t.Fatal(err)
	}
	if path != "/orders/a:b" || raw != "/orders/a%3ab/" {
		t.Errorf("got %q, %q", path, raw)
	}
	if !slices.Contains(x.lines, "send request path=/orders/a%3ab/?q=2") {
		t.Errorf("got %q", x.lines)
	}
}
