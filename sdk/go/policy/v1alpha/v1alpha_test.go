package v1alpha_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

func TestParamsDecode(t *testing.T) {
	type params struct {
		Name string `json:"name"`
		N    int64  `json:"n"`
	}
	for text, want := range map[string]params{"": {}, "{}": {}, `{"name": "a", "n": 9007199254740993}`: {"a", 9007199254740993}} {
		var got params
		if err := v1alpha.Params(text).Decode(&got); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{`{"nam": "a"}`: "nam", `{"n": "a"}`: "n", `[]`: "array", `{`: "decode parameters"} {
		if err := v1alpha.Params(text).Decode(&params{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected an error with %q, got %v", text, want, err)
		}
	}
}

func TestHeaders(t *testing.T) {
	headers := v1alpha.Headers{{Name: "accept", Value: "a"}, {Name: "x-b", Value: "\xff"}, {Name: "accept", Value: "c"}}
	if headers.Get("Accept") != "a" || headers.Get("X-B") != "\xff" || headers.Get("x-c") != "" {
		t.Errorf("Get: %q, %q, %q", headers.Get("Accept"), headers.Get("X-B"), headers.Get("x-c"))
	}
	if !headers.Has("ACCEPT") || headers.Has("x-c") {
		t.Error("Has")
	}
	if got := slices.Collect(headers.Values("Accept")); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("Values: %q", got)
	}
}

func TestMetadataHoldJSONValues(t *testing.T) {
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	for _, c := range []struct{ set, want any }{
		{nil, nil}, {true, true}, {"a", "a"}, {7, int64(7)}, {uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)},
		{1.5, 1.5}, {huge, huge}, {[]int{1, 2}, []any{int64(1), int64(2)}},
		{map[string]any{"a": []any{nil, 9007199254740993}}, map[string]any{"a": []any{nil, int64(9007199254740993)}}},
	} {
		var metadata v1alpha.ExchangeMetadata
		if err := metadata.Set("key", c.set); err != nil {
			t.Errorf("%v: %v", c.set, err)
		}
		if got, ok := metadata.Get("key"); !ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: expected %#v, got %#v", c.set, c.want, got)
		}
	}
	for _, value := range []any{math.NaN(), math.Inf(1), func() {}, map[string]any{"a": make(chan int)}} {
		var metadata v1alpha.ExchangeMetadata
		if err := metadata.Set("key", value); err == nil || !strings.Contains(err.Error(), `"key"`) {
			t.Errorf("%T: expected an error that names the key, got %v", value, err)
		}
	}
}

func TestMetadataMerge(t *testing.T) {
	var metadata v1alpha.ExchangeMetadata
	if text, err := metadata.JSON(); text != nil || err != nil {
		t.Errorf("empty: %s, %v", text, err)
	}
	_ = metadata.Set("old", 1)
	_ = metadata.Set("kept", 2)
	if err := metadata.Merge([]byte(`{"new": 3, "again": 4}`), []string{"old", "again", "absent"}); err != nil {
		t.Error(err)
	}
	if text, _ := metadata.JSON(); string(text) != `{"again":4,"kept":2,"new":3}` {
		t.Errorf("got %s", text)
	}
	metadata.Delete("kept")
	if _, ok := metadata.Get("kept"); ok {
		t.Error("deleted and there")
	}
	for _, text := range []string{"[]", "{", "1"} {
		if err := metadata.Merge([]byte(text), []string{"new"}); err == nil {
			t.Errorf("%s: expected an error", text)
		}
	}
	if _, ok := metadata.Get("new"); !ok {
		t.Error("a merge that failed has removed a key")
	}
}

func TestMetadataIsSafeForConcurrentUse(t *testing.T) {
	var metadata v1alpha.ExchangeMetadata
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for range 100 {
				_ = metadata.Set(fmt.Sprint(n), n)
				_, _ = metadata.Get("0")
				_, _ = metadata.JSON()
			}
		})
	}
	all.Wait()
	text, _ := metadata.JSON()
	var values map[string]int
	if err := json.Unmarshal(text, &values); err != nil || len(values) != 8 {
		t.Errorf("%s, %v", text, err)
	}
}

func TestAsFailure(t *testing.T) {
	var none *v1alpha.Failure
	overloaded := v1alpha.Failf(v1alpha.ClassOverloaded, "%d", 7)
	for _, c := range []struct {
		err  error
		want v1alpha.Failure
	}{
		{overloaded, v1alpha.Failure{Class: v1alpha.ClassOverloaded, Message: "7"}},
		{fmt.Errorf("wrapped: %w", overloaded), v1alpha.Failure{Class: v1alpha.ClassOverloaded, Message: "7"}},
		{errors.New("plain"), v1alpha.Failure{Class: v1alpha.ClassException, Message: "plain"}},
	} {
		if got := v1alpha.AsFailure(c.err); *got != c.want {
			t.Errorf("%v: got %+v", c.err, got)
		}
	}
	if got := v1alpha.AsFailure(none); got == nil || got.Class != v1alpha.ClassException {
		t.Errorf("a nil *Failure in an error: got %v", got)
	}
	if overloaded.Error() != "overloaded: 7" {
		t.Errorf("text: %s", overloaded)
	}
}

func TestWantedPhases(t *testing.T) {
	for _, c := range []struct {
		mode                       v1alpha.ProcessingModeConfig
		request, body, resp, rBody bool
	}{
		{v1alpha.ProcessingModeConfig{}, false, false, false, false},
		{v1alpha.ProcessingModeConfig{RequestHeaderMode: v1alpha.HeaderProcess, RequestBodyMode: v1alpha.BodySkip}, true, false, false, false},
		{v1alpha.ProcessingModeConfig{RequestBodyMode: v1alpha.BodyBuffer}, true, true, false, false},
		{v1alpha.ProcessingModeConfig{ResponseHeaderMode: v1alpha.HeaderProcess}, false, false, true, false},
		{v1alpha.ProcessingModeConfig{ResponseBodyMode: v1alpha.BodyStream}, false, false, true, true},
	} {
		m := c.mode
		if m.WantsRequest() != c.request || m.WantsRequestBody() != c.body || m.WantsResponse() != c.resp || m.WantsResponseBody() != c.rBody {
			t.Errorf("%+v: got %v %v %v %v", m, m.WantsRequest(), m.WantsRequestBody(), m.WantsResponse(), m.WantsResponseBody())
		}
	}
}

type countedLease struct{ released *int }

func (l countedLease) Release() { *l.released++ }

func TestALeaseLastsUntilTheExchangeEnds(t *testing.T) {
	taken, released := 0, 0
	take := func() v1alpha.Lease { taken++; return countedLease{&released} }
	var m v1alpha.ExchangeMetadata
	for range 2 {
		m.Lease("a", take)
	}
	m.Lease("b", take)
	if taken != 2 || released != 0 {
		t.Fatalf("expected one lease for each key and none released, got %d and %d", taken, released)
	}
	m.End()
	m.End()
	if released != 2 {
		t.Fatalf("expected each released once, got %d", released)
	}
	m.Lease("late", take)
	if released != 3 {
		t.Fatalf("expected one that is taken after the end to be released at once, got %d", released)
	}
}

func TestAPeerAsJSONIsMadeOnce(t *testing.T) {
	peer := &v1alpha.Peer{Subject: "CN=é", DNSNames: []string{"a,b"}, URIs: []string{}, EmailAddresses: []string{}, IPAddresses: []string{"::1"}, Fingerprint: "00ff"}
	var all sync.WaitGroup
	texts := make([][]byte, 8)
	for n := range texts {
		all.Go(func() { texts[n], _ = peer.JSON() })
	}
	all.Wait()
	want := `{"subject":"CN=é","issuer":"","dnsNames":["a,b"],"uris":[],"emailAddresses":[],"ipAddresses":["::1"],"fingerprint":"00ff"}`
	for _, text := range texts {
		if string(text) != want || &text[0] != &texts[0][0] {
			t.Errorf("expected the same %s each time, got %s", want, text)
		}
	}
}
