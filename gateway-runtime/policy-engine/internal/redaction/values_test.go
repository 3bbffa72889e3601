package redaction_test

import (
	"reflect"
	"testing"

	"gatewright.dev/policy-engine/internal/redaction"
)

func TestValuesAreRedactedEverywhere(t *testing.T) {
	values := &redaction.Values{}
	values.Add([]string{"swordfish-1", "swordfish-1-and-more", "short", "first line\nsecond \"line\"\n"})
	for text, want := range map[string]string{
		"swordfish-1":                           "[redacted]",
		"a=swordfish-1&b=swordfish-1-and-more.": "a=[redacted]&b=[redacted].",
		"q=second+%22line%22":                   "q=[redacted]",
		"/second%20%22line%22/":                 "/[redacted]/",
		`{"a":"first line\nsecond \"line\""}`:   `{"a":"[redacted]"}`,
		"first line, as it is":                  "[redacted], as it is",
		"short texts stay":                      "short texts stay",
		"Swordfish-1 is another one":            "Swordfish-1 is another one",
		"":                                      "",
	} {
		if got, count := values.Text(text); got != want || (count > 0) != (got != text) {
			t.Errorf("%q: expected %q, got %q, of which %d", text, want, got, count)
		}
	}
	if _, count := values.Text("swordfish-1 swordfish-1 [redacted]"); count != 2 {
		t.Errorf("expected two, got %d", count)
	}
	got, count := values.Shown(map[string]any{"a": []any{"swordfish-1", 7.0, nil}, "b": map[string]any{"c": "x swordfish-1"}})
	if want := map[string]any{"a": []any{"[redacted]", 7.0, nil}, "b": map[string]any{"c": "x [redacted]"}}; !reflect.DeepEqual(got, want) || count != 2 {
		t.Errorf("expected %v, got %v, of which %d", want, got, count)
	}
}

func TestASecretCountsAsLongAsAnInstanceHoldsIt(t *testing.T) {
	values := &redaction.Values{}
	values.Add([]string{"swordfish-1"})
	values.Add([]string{"swordfish-1", "swordfish-2"})
	values.Remove([]string{"swordfish-1", "swordfish-2"})
	if got, _ := values.Text("swordfish-1 swordfish-2"); got != "[redacted] swordfish-2" {
		t.Errorf("expected the one that an instance holds to be taken out, got %q", got)
	}
	values.Remove([]string{"swordfish-1"})
	if got, _ := values.Text("swordfish-1"); got != "swordfish-1" {
		t.Errorf("expected nothing to be taken out, got %q", got)
	}
	var none *redaction.Values
	if got, count := none.Text("swordfish-1"); got != "swordfish-1" || count != 0 {
		t.Errorf("expected a nil one to take nothing out, got %q", got)
	}
}
