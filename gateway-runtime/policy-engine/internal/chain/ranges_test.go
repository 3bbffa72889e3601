package chain_test

import (
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// readers are policies, by the way they read the response's body.
func readers(x *transcript) map[string]*chain.Instance {
	return map[string]*chain.Instance{
		"headers alone":          x.marks("policy", "hH"),
		"buffered":               x.marks("policy", "B"),
		"buffered, or not coded": x.marks("policy", "B", refusesEncoded),
		"buffered as it came":    x.marks("policy", "B", passesEncoded),
		"streamed":               x.streams("inline", "policy", "S", wraps),
		"streamed as it came":    x.streams("inline", "policy", "S", wraps, passesEncoded),
	}
}

var takesParts = []string{"headers alone", "buffered as it came", "streamed as it came"}

func TestUpstreamIsAskedForTheWholeWhereAPolicyReadsTheResponse(t *testing.T) {
	for name := range readers(get()) {
		x := get().answers("whole")
		x.request.Headers = headers("range", "bytes=0-0,1-", "if-range", `"v1"`, "accept-encoding", "identity")
		x.response.Headers = headers("accept-ranges", "bytes")
		_ = x.run(t, readers(x)[name])
		asked, want := x.lines[slices.IndexFunc(x.lines, func(line string) bool { return strings.HasPrefix(line, "send request") })], "send request remove=range,if-range"
		if slices.Contains(takesParts, name) {
			want = strings.TrimSuffix(want, " remove=range,if-range")
		}
		if !strings.HasPrefix(asked+" ", want+" ") || strings.Contains(asked, "range") != strings.Contains(want, "range") {
			t.Errorf("%s: expected %s, got %s", name, want, asked)
		}
		withdrawn := slices.ContainsFunc(x.lines, func(line string) bool {
			return strings.HasPrefix(line, "send response") && strings.Contains(line, "accept-ranges")
		})
		if withdrawn == slices.Contains(takesParts, name) {
			t.Errorf("%s: got %q", name, x.lines)
		}
	}
}

func TestAPolicyThatReadsABodyIsGivenNoPartOfIt(t *testing.T) {
	for name := range readers(get()) {
		for came, c := range map[string]struct {
			status int
			pairs  []string
			whole  bool
		}{
			"206":                         {206, []string{"content-range", "bytes 0-3/9"}, false},
			"206 in several parts":        {206, []string{"content-type", "multipart/byteranges; boundary=b"}, false},
			"a range by its header alone": {200, []string{"content-range", "bytes 0-3/9"}, false},
			"no such range":               {416, []string{"content-range", "bytes */9"}, true},
			"the whole":                   {200, nil, true},
		} {
			x := get().answers("part")
			x.response.Status, x.response.Headers = c.status, headers(c.pairs...)
			_ = x.run(t, readers(x)[name])
			refused := slices.ContainsFunc(x.lines, func(line string) bool { return strings.HasPrefix(line, "answer 502 policy_badBody") })
			if want := !c.whole && !slices.Contains(takesParts, name); refused != want {
				t.Errorf("%s, %s: expected refused to be %v, got %q", name, came, want, x.lines)
			}
		}
	}
}

// TestAPartialResponseStaysPartial for the policies behind one that reads it, no matter what that does with the headers,
// unless the body is new.
func TestAPartialResponseStaysPartial(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*transcript) *chain.Instance
		want   string
	}{
		"its header is removed": {func(x *transcript) *chain.Instance {
			return x.onResponse("before", "B", &v1alpha.UpstreamResponseModifications{
				Headers: v1alpha.HeaderModifications{Remove: []string{"content-range"}},
			}, nil, passesEncoded)
		}, "answer 502 policy_badBody"},
		"its body is another": {func(x *transcript) *chain.Instance {
			return x.onResponse("before", "B", responseBody("whole"), nil, passesEncoded)
		}, "reads: response 200 body whole"},
	} {
		x := get().answers("part")
		x.response.Headers = headers("content-range", "bytes 0-3/9")
		_ = x.run(t, x.marks("reads", "B"), c.before(x))
		if !slices.ContainsFunc(x.lines, func(line string) bool { return strings.HasPrefix(line, c.want) }) {
			t.Errorf("%s: got %q", name, x.lines)
		}
	}
}

func TestAPartOfARequestIsRefusedWhereAPolicyReadsIt(t *testing.T) {
	const refused = "answer 415 policy_badBody"
	for letters, c := range map[string]struct {
		value string
		body  []string
		want  string
	}{
		"b": {"bytes 0-3/9", []string{"part"}, refused}, "s": {"bytes 0-3/9", []string{"part"}, refused},
		"h": {"bytes 0-3/9", []string{"part"}, "send request"}, "bB": {"bytes */9", nil, "send request"},
	} {
		x := post(c.body...)
		if len(c.body) == 0 {
			x = get()
		}
		x.request.Headers = headers("content-range", c.value)
		policy := x.marks("policy", letters)
		if letters == "s" {
			policy = x.streams("inline", "policy", letters, wraps)
		}
		_ = x.run(t, policy)
		if !slices.ContainsFunc(x.lines, func(line string) bool { return strings.HasPrefix(line, c.want) }) {
			t.Errorf("%s, %s: expected %s, got %q", letters, c.value, c.want, x.lines)
		}
	}
}

func TestAShadowIsGivenNoPart(t *testing.T) {
	x := get().answers("part")
	x.response.Status = 206
	if err := x.run(t, shadow("s:v1.0.0", does{}, "B"), shadow("raw:v1.0.0", does{}, "B", passesEncoded)); err != nil {
		t.Fatal(err)
	}
	x.expectShadows(t, `
		0 s:v1.0.0 response skipped: a range of the response came; with this policy in place upstream is asked for the whole
		1 raw:v1.0.0 response same`)
}
