package requestid_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	requestid "gatewright.dev/policies/request-id"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = requestid.GetPolicy

// ids returns the id that upstream receives, and the id in the client's response, for the client's header lines.
func ids(t *testing.T, params string, lines ...string) (upstream, returned string) {
	t.Helper()
	policy, err := requestid.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	req := &v1alpha.RequestContext{RequestID: "gateways-own"}
	for _, line := range lines {
		req.Headers = append(req.Headers, v1alpha.Header{Name: "x-correlation-id", Value: line})
	}
	action, err := policy.OnRequest(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if changes, ok := action.(*v1alpha.UpstreamRequestModifications); ok {
		req.Headers = changes.Headers.Set
	}
	answer, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: req})
	if err != nil {
		t.Fatal(err)
	}
	if changes, ok := answer.(*v1alpha.UpstreamResponseModifications); ok {
		returned = changes.Headers.Set[0].Value
	}
	return req.Headers.Get("x-correlation-id"), returned
}

func TestAClientsIDIsKeptWhereItIsAccepted(t *testing.T) {
	const params = `{"accept": "[a-z0-9-]{8,999}"}`
	for _, test := range []struct {
		lines []string
		kept  bool
	}{
		{[]string{"order-4711"}, true},
		{[]string{strings.Repeat("a", 256)}, true},
		{[]string{strings.Repeat("a", 257)}, false},
		{[]string{"order"}, false},
		{[]string{"order-4711\n"}, false},
		{[]string{"order-4711 x"}, false},
		{[]string{"order-4711\r\nx-admin: 1"}, false},
		{[]string{"order-4711", "order-4712"}, false}, // upstream might read either
		{[]string{""}, false},
		{nil, false},
	} {
		upstream, returned := ids(t, params, test.lines...)
		if kept := slices.Contains(test.lines, upstream) && upstream != ""; kept != test.kept || returned != upstream || upstream == "" {
			t.Errorf("%q: expected it to be kept: %t, got %q, and %q for the client", test.lines, test.kept, upstream, returned)
		}
	}
	if upstream, _ := ids(t, `{"accept": ""}`, "order-4711"); upstream == "order-4711" {
		t.Error("expected a new one where none is accepted")
	}
	if _, returned := ids(t, `{"accept": "", "echo": false}`, "order-4711"); returned != "" {
		t.Errorf("expected no id for the client, got %q", returned)
	}
}

func TestAnIDHasItsForm(t *testing.T) {
	for format, form := range map[string]string{
		"uuidv7": `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`,
		"uuidv4": `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`,
		"ulid":   `^[0-7][0-9A-HJKMNP-TV-Z]{25}$`,
	} {
		seen := map[string]bool{}
		for range 1000 {
			id, _ := ids(t, `{"format": "`+format+`"}`)
			if !regexp.MustCompile(form).MatchString(id) || seen[id] {
				t.Fatalf("%s: expected a new one of the form %s, got %q", format, form, id)
			}
			seen[id] = true
		}
	}
	if id, _ := ids(t, `{"format": "gateway"}`); id != "gateways-own" {
		t.Errorf("expected the gateway's id, got %q", id)
	}
}

// TestIDsSortByTheirTime: they begin with the time in milliseconds.
func TestIDsSortByTheirTime(t *testing.T) {
	for format, length := range map[string]int{"uuidv7": len("01234567-89ab"), "ulid": 10} {
		params := `{"format": "` + format + `"}`
		first, _ := ids(t, params)
		for later := first; later[:length] == first[:length]; {
			if later, _ = ids(t, params); later[:length] < first[:length] {
				t.Fatalf("%s: expected one after %q, got %q", format, first, later)
			}
		}
	}
}

func TestAnInvalidPatternIsRefused(t *testing.T) {
	for params, says := range map[string]string{
		`{"accept": "("}`:       "accept: expected a regular expression (RE2), got \"(\"",
		`{"format": "uuidv1"}`:  "format: expected uuidv7, uuidv4, ulid or gateway, got \"uuidv1\"",
		`{"headers": ["x-id"]}`: "unknown field",
	} {
		if _, err := requestid.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: expected %q, got %v", params, says, err)
		}
	}
}

func BenchmarkUUIDv7(b *testing.B) {
	policy, err := requestid.GetPolicy(v1alpha.Metadata{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	req := &v1alpha.RequestContext{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.OnRequest(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}
