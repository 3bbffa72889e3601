package v1alpha_test

import (
	"reflect"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

func TestAnIdentityIsReadFromMetadata(t *testing.T) {
	for text, want := range map[string]*v1alpha.Identity{
		`{}`:                               nil,
		`{"identity": null}`:               nil,
		`{"identity": "ann"}`:              nil,
		`{"identity": {}}`:                 nil,
		`{"identity": {"issuer": "i"}}`:    nil,
		`{"identity": {"subject": 7}}`:     nil,
		`{"identity": {"subject": "ann"}}`: {Subject: "ann"},
		`{"identity": {"subject": "ann", "scopes": "read"}}`: nil,
		`{"identity": {"subject": "ann", "claims": []}}`:     nil,
		`{"identity": {"subject": "ann", "issuer": "i", "method": "jwt", "scopes": ["a", "b"], "claims": {"n": 1}}}`: {
			Subject: "ann", Issuer: "i", Method: "jwt", Scopes: []string{"a", "b"}, Claims: map[string]any{"n": int64(1)}},
	} {
		metadata := &v1alpha.ExchangeMetadata{}
		if err := metadata.Merge([]byte(text), nil); err != nil {
			t.Fatal(err)
		}
		got, ok := v1alpha.IdentityOf(metadata)
		if ok != (want != nil) || ok && !reflect.DeepEqual(got, *want) {
			t.Errorf("%s: expected %+v, got %+v, %t", text, want, got, ok)
		}
	}
}

func TestParametersOfAPath(t *testing.T) {
	params := v1alpha.PathParams{{Name: "id", Encoded: "a%20b"}, {Name: "rest", Encoded: "%"}}
	if params.Get("id") != "a b" || params.Encoded("id") != "a%20b" || params.Get("rest") != "%" || params.Get("none") != "" {
		t.Errorf("got %q, %q", params.Get("id"), params.Get("rest"))
	}
	if !params.Has("id") || params.Has("none") || v1alpha.PathParams(nil).Has("id") {
		t.Error("expected those that are there")
	}
	for text, want := range map[string]string{"": "", "%41%7a%7A": "Azz", "%4": "%4", "%%41": "%A", "%g1": "%g1", "%ff": "\xff", "100%": "100%", "%2541": "%41"} {
		if got := v1alpha.PercentDecoded(text); got != want {
			t.Errorf("%q: expected %q, got %q", text, want, got)
		}
	}
}
