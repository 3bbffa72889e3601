package condition_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/condition"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is conformance/conditions.json.
type table struct {
	Requests map[string]request
	Answers  []map[string]any
	Refused  []refused
}

type request struct {
	Method, Path, Query, Scheme, Authority, ClientAddress string
	Headers                                               [][2]string
	Metadata                                              json.RawMessage
	Peer                                                  *v1alpha.Peer
	PathParams                                            v1alpha.PathParams
}

type refused struct {
	When, Says   string
	Line, Column int
}

func (r request) context(t testing.TB) *v1alpha.RequestContext {
	t.Helper()
	metadata := &v1alpha.ExchangeMetadata{}
	if err := metadata.Merge(r.Metadata, nil); err != nil {
		t.Fatal(err)
	}
	result := &v1alpha.RequestContext{
		Method: r.Method, Path: r.Path, Query: r.Query, Scheme: r.Scheme, Authority: r.Authority, ClientAddress: r.ClientAddress,
		Peer: r.Peer, PathParams: r.PathParams, Metadata: metadata,
	}
	for _, header := range r.Headers {
		result.Headers = append(result.Headers, v1alpha.Header{Name: header[0], Value: header[1]})
	}
	return result
}

func readTable(t testing.TB) table {
	t.Helper()
	text, err := os.ReadFile("../../../../conformance/conditions.json")
	if err != nil {
		t.Fatal(err)
	}
	var read table
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func compiled(t testing.TB, text string) *condition.Condition {
	t.Helper()
	compiledCondition, err := condition.Compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return compiledCondition
}

// ofPolicies compiles conditions as a policy does, by its Metadata.
func ofPolicies() v1alpha.Metadata {
	return v1alpha.Metadata{Conditions: (&condition.Cache{}).ForPolicies()}
}

func TestConditionsAnswerAsInTheTable(t *testing.T) {
	read := readTable(t)
	for _, row := range read.Answers {
		text := row["when"].(string)
		compiledCondition := compiled(t, text)
		if compiledCondition.Text() != text {
			t.Errorf("expected its text %q, got %q", text, compiledCondition.Text())
		}
		ofPolicy, err := ofPolicies().Compile(text)
		if err != nil {
			t.Fatalf("%s, of a policy: %v", text, err)
		}
		for name, request := range read.Requests {
			for _, c := range []v1alpha.Condition{compiledCondition, ofPolicy} {
				checkAnswer(t, c, fmt.Sprintf("%s, of %s", text, name), request, row[name])
			}
		}
	}
}

// checkAnswer compares a condition's result with true, false, or a part of an error.
func checkAnswer(t *testing.T, compiledCondition v1alpha.Condition, name string, request request, want any) {
	t.Helper()
	got, err := compiledCondition.Applies(request.context(t))
	if reason, fails := want.(string); fails {
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: expected an error with %q, got %v, %v", name, reason, got, err)
		}
	} else if err != nil || got != want {
		t.Errorf("%s: expected %v, got %v, %v", name, want, got, err)
	}
}

func TestMistakesAreAsInTheTable(t *testing.T) {
	for _, row := range readTable(t).Refused {
		_, err := condition.Compile(row.When)
		mistake, ok := errors.AsType[*condition.Mistake](err)
		if !ok || mistake.Line != row.Line || mistake.Column != row.Column || !strings.Contains(mistake.Message, row.Says) {
			t.Errorf("%s: expected line %d, column %d: %s; got %v", row.When, row.Line, row.Column, row.Says, err)
		}
		if compiledCondition, again := ofPolicies().Compile(row.When); compiledCondition != nil || again == nil || again.Error() != err.Error() {
			t.Errorf("%s: expected %v of a policy's too, got %v, %v", row.When, err, compiledCondition, again)
		}
	}
}

func TestWithoutAnEngineNothingIsCompiled(t *testing.T) {
	if compiledCondition, err := (v1alpha.Metadata{}).Compile("true"); compiledCondition != nil || err == nil || !strings.Contains(err.Error(), "expected an engine") {
		t.Errorf("expected an error, got %v, %v", compiledCondition, err)
	}
}

func TestEveryMistakeSaysWhatWasExpected(t *testing.T) {
	for _, row := range readTable(t).Refused {
		if _, err := condition.Compile(row.When); err == nil || !strings.Contains(err.Error(), "expected ") || !strings.Contains(err.Error(), ", got ") {
			t.Errorf("%q: expected what was expected and what came, got %v", row.When, err)
		}
	}
}

// TestHostileConditions are refused by their structure, in little time and with little stack.
func TestHostileConditions(t *testing.T) {
	for name, text := range map[string]string{
		"deep parentheses":   strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000),
		"deep lists":         strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + " == []",
		"deep conditionals":  strings.Repeat("true ? true : ", 140) + "true ? 1 : 2",
		"a long text":        `request.path == "` + strings.Repeat("a", condition.MaxBytes) + `"`,
		"nested macros":      "[1,2,3].all(a, [1,2,3].all(b, [1,2,3].all(c, [1,2,3].all(d, a == b))))",
		"over all headers":   "request.headers.all(a, request.headers.all(b, request.headers[a] != request.headers[b]))",
		"large expressions":  "request.path.matches('" + strings.Repeat("(a|b)*", 200) + "')",
		"counts of classes":  "request.headers.exists(n, request.headers[n].matches('([ab]{1,50}){1,2}z'))",
		"counts in counts":   "request.path.matches('((a{30}){30}){30}')",
		"bytes":              "request.path == '\xff'",
		"only blanks":        "  \n ",
		"metadata in itself": "metadata.all(a, metadata.all(b, metadata[a] != metadata[b]))",
	} {
		_, err := condition.Compile(text)
		if _, ok := errors.AsType[*condition.Mistake](err); !ok {
			t.Errorf("%s: expected a mistake, got %v", name, err)
		}
	}
}

// TestAnEvaluationIsBounded: a request larger than the estimate assumes costs no more than MaxCost.
func TestAnEvaluationIsBounded(t *testing.T) {
	costly := compiled(t, `request.headers.exists(name, request.headers[name].matches("^(a|b|c|d|e)*[f-z]$"))`)
	large := request{Method: "GET", Path: "/"}
	for n := range 100 {
		large.Headers = append(large.Headers, [2]string{fmt.Sprintf("x-%d", n), strings.Repeat("abcde", 4000)})
	}
	if _, err := costly.Applies(large.context(t)); err == nil || !strings.Contains(err.Error(), "cost limit exceeded") {
		t.Errorf("expected the limit on cost, got %v", err)
	}
	plain := request{Method: "GET", Path: "/", Headers: [][2]string{{"x-a", "abz"}}}
	if got, err := costly.Applies(plain.context(t)); err != nil || !got {
		t.Errorf("expected true, got %v, %v", got, err)
	}
}

func TestManyHeaders(t *testing.T) {
	large := request{Method: "GET"}
	for n := range 10_000 {
		large.Headers = append(large.Headers, [2]string{fmt.Sprintf("x-%d", n), "1"})
	}
	for text, fails := range map[string]bool{`request.headers["x-9999"] == "1"`: false, `request.headers.all(name, request.headers[name] == "2")`: false,
		`request.headers.all(name, name.size() * name.size() * name.size() != 0 && name + name != name && name + "a" != name + "b")`: true} {
		if _, err := compiled(t, text).Applies(large.context(t)); (err != nil) != fails {
			t.Errorf("%s: expected an error: %t, got %v", text, fails, err)
		}
	}
}

func TestACacheSharesConditions(t *testing.T) {
	cache := &condition.Cache{}
	first, err := cache.Compile(`request.method == "GET"`)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := cache.Compile(`request.method == "GET"`)
	other, _ := cache.Compile(`request.method == "PUT"`)
	if first != again || first == other {
		t.Error("expected one condition for each text")
	}
	if _, err := cache.Compile("nonsense"); err == nil {
		t.Error("expected a mistake")
	}
}

// TestARequestCannotMakeAnEvaluationLong: with the largest allowed requests, for conditions that read all of them.
func TestARequestCannotMakeAnEvaluationLong(t *testing.T) {
	hostile := request{Method: "GET", Path: "/" + strings.Repeat("Aa", 8<<10), Metadata: json.RawMessage(`{"large":"` + strings.Repeat("x", 1<<20) + `"}`)}
	names := &strings.Builder{}
	for n := range 16_000 {
		fmt.Fprintf(names, "&%x", n)
	}
	hostile.Query = names.String()
	for n := range 50 {
		hostile.Headers = append(hostile.Headers, [2]string{"x-many", strings.Repeat("b", 600)}, [2]string{fmt.Sprint("x-", n), ""})
	}
	for text, fails := range map[string]bool{
		`request.query.all(name, request.query[name] == [""])`:                             false,
		`request.query.all(name, request.path.lowerAscii() != name)`:                       true,
		`request.query.all(name, request.path.size() > name.size())`:                       true,
		`request.headers.all(name, request.headers["x-many"].contains("b") && name != "")`: false,
		`request.headers.all(name, size(request.query) > 3 && size(metadata) == 1)`:        false,
		`request.headers.all(name, "large" in metadata && metadata["large"] != name)`:      false,
	} {
		compiledCondition, seen := compiled(t, text), hostile.context(t)
		began := cpuTime(t)
		_, err := compiledCondition.Applies(seen)
		took := cpuTime(t) - began
		if (err != nil) != fails {
			t.Errorf("%s: expected an error: %t, got %v", text, fails, err)
		}
		t.Logf("%v %s", took, text)
		if took > 2*time.Second {
			t.Errorf("%s: expected an evaluation of some milliseconds, got %v", text, took)
		}
	}
}

// cpuTime is the CPU time of the process.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestACacheForgets conditions that are no longer used.
func TestACacheForgets(t *testing.T) {
	cache := &condition.Cache{}
	for n := range 100 {
		if _, err := cache.Compile(fmt.Sprintf("size(request.path) == %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return condition.Kept(cache) == 0 })
}

func TestCheckReportsEachMistake(t *testing.T) {
	out := &strings.Builder{}
	if err := condition.Check(strings.NewReader(`["true", "request.method == 1", ""]`), out); err != nil {
		t.Fatal(err)
	}
	var mistakes []*condition.Mistake
	if err := json.Unmarshal([]byte(out.String()), &mistakes); err != nil || len(mistakes) != 3 {
		t.Fatalf("expected three, got %s (%v)", out, err)
	}
	if mistakes[0] != nil || mistakes[1].Column != 16 || mistakes[2].Line != 0 || !strings.Contains(mistakes[2].Message, "got none") {
		t.Errorf("got %s", out)
	}
	if err := condition.Check(strings.NewReader("{}"), out); err == nil {
		t.Error("expected an error for what is no list")
	}
}

func BenchmarkCondition(b *testing.B) {
	full := readTable(b).Requests["full"].context(b)
	for name, text := range map[string]string{
		"header-and-method": `request.headers["x-beta"] == "1" && request.method != "OPTIONS"`,
		"method":            `request.method != "OPTIONS"`,
		"regular":           `request.path.matches("^/orders/[a-z0-9.]+/")`,
		"all-headers":       `request.headers.exists(name, name.startsWith("x-none-"))`,
		"query":             `"2" in request.query["a"]`,
		"metadata":          `metadata["tier"] == "gold"`,
	} {
		b.Run(name, func(b *testing.B) {
			compiledCondition := compiled(b, text)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := compiledCondition.Applies(full); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzCondition: any text and any request give a result or an error, never a panic.
func FuzzCondition(f *testing.F) {
	read := readTable(f)
	for _, row := range read.Answers {
		f.Add(row["when"].(string), "x-beta", "1", "a=1&b=%zz")
	}
	for _, row := range read.Refused {
		f.Add(row.When, "accept", "\xff", "=&&%")
	}
	f.Fuzz(func(t *testing.T, text, name, value, query string) {
		compiledCondition, err := condition.Compile(text)
		if err != nil {
			if _, ok := errors.AsType[*condition.Mistake](err); !ok {
				t.Errorf("%q: expected a mistake, got %v", text, err)
			}
			return
		}
		seen := &v1alpha.RequestContext{Method: value, Path: query, Query: query, Authority: value, ClientAddress: value,
			Headers: v1alpha.Headers{{Name: strings.ToLower(name), Value: value}}, Metadata: &v1alpha.ExchangeMetadata{}}
		if err := seen.Metadata.Set(name, []any{value, 1, nil}); err != nil {
			t.Skip(err)
		}
		if _, err := compiledCondition.Applies(seen); err != nil && strings.Contains(err.Error(), "internal error") {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// waitFor runs the garbage collector until the condition holds.
func waitFor(t *testing.T, so func() bool) {
	t.Helper()
	await.Until(t, "the garbage collector has what the test left", func() bool {
		runtime.GC()
		return so()
	})
}
