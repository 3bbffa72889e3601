package queue_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/node/queue"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/secrets"
	"gatewright.dev/policy-engine/internal/xds"
)

var (
	begin = time.Unix(1000, 0)
	away  = transient.Mark(errors.New("no route to host"))
)

// newQueue makes a queue whose builds are known by their names.
func newQueue() *queue.Queue[string] {
	return queue.New[string](backoff.Doubling{First: time.Second, Longest: 4 * time.Second}, time.Minute)
}

func bundle(api, digest string) *nodev1.ApiBundle {
	return &nodev1.ApiBundle{Api: api, Digest: digest, Context: "/" + api}
}

func dueAPIs(q *queue.Queue[string], now time.Time) (apis []string) {
	for _, entry := range q.Due(now) {
		apis = append(apis, entry.Message.GetApi())
	}
	return apis
}

func TestTransientFailuresAreRetriedWithBackOffAndOthersAreNot(t *testing.T) {
	q := newQueue()
	entry, bad := q.Put(bundle("a", "1"), 1, nil), q.Put(bundle("bad", "1"), 1, nil)
	q.Reject(bad, errors.New("a mistake"), begin)
	if bad.State() != nodev1.ApiStatus_STATE_REJECTED || bad.Reason() != "a mistake" {
		t.Errorf("expected it to be rejected, got %s, %q", bad.State(), bad.Reason())
	}
	now := begin
	for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 4 * time.Second} {
		q.Reject(entry, away, now)
		if next := q.NextRetry(now); next != wait || len(dueAPIs(q, now)) != 0 {
			t.Errorf("expected a retry after %s, got %s", wait, next)
		}
		now = now.Add(wait)
		if got := dueAPIs(q, now); !slices.Equal(got, []string{"a"}) {
			t.Errorf("expected a to be due, got %q", got)
		}
	}
	entry.Begin("second")
	if len(dueAPIs(q, now)) != 0 || q.NextRetry(now) != time.Hour {
		t.Error("expected no retry while a build is under way")
	}
}

func TestAReasonIsNewsOnce(t *testing.T) {
	q := newQueue()
	entry := q.Put(bundle("a", "1"), 1, nil)
	for _, c := range []struct {
		err  error
		news bool
	}{{away, true}, {away, false}, {errors.New("no route to host"), true}, {away, true}} {
		if news := q.Reject(entry, c.err, begin); news != c.news {
			t.Errorf("%v: expected news: %t, got %t", c.err, c.news, news)
		}
	}
}

func TestTheBuildUnderWayGoesOnForTheSameBundleAndForTheLastGoodOne(t *testing.T) {
	for name, c := range map[string]struct {
		newer    *nodev1.ApiBundle
		unserved string
		failed   bool // a build has failed before
		kept     bool
		next     bool
	}{
		"the same bundle":                  {bundle("a", "1"), "", false, true, false},
		"another bundle":                   {bundle("a", "2"), "", false, false, false},
		"it builds the last good version":  {bundle("a", "2"), "1", false, true, true},
		"the last good version has failed": {bundle("a", "2"), "1", true, false, false},
		"the last good version is another": {bundle("a", "2"), "0", false, false, false},
		"another API":                      {bundle("b", "1"), "1", false, false, false},
	} {
		q := newQueue()
		entry := q.Put(bundle("a", "1"), 1, nil)
		if c.failed {
			q.Reject(entry, away, begin)
		}
		entry.Begin("first")
		build, kept := q.KeepBuild(c.newer, 2, c.unserved, begin)
		if kept != c.kept || kept != (build == "first") {
			t.Errorf("%s: expected kept: %t, got %t, build %q", name, c.kept, kept, build)
		}
		if next := entry.DrainNext(); (next != nil) != c.next || entry.DrainNext() != nil {
			t.Errorf("%s: expected an update that waits: %t, got %v", name, c.next, next)
		}
	}
}

func TestAnUpdateWaitsForTheLastGoodVersionForAWhile(t *testing.T) {
	q := newQueue()
	entry := q.Put(bundle("a", "1"), 1, nil)
	entry.Begin("first")
	q.KeepBuild(bundle("a", "2"), 2, "1", begin)
	q.KeepBuild(bundle("a", "3"), 3, "1", begin.Add(50*time.Second)) // it does not begin to wait anew
	if got := q.ExpireWaits(begin.Add(time.Minute)); len(got) != 0 {
		t.Errorf("expected it to wait, got %v", got)
	}
	got := q.ExpireWaits(begin.Add(61 * time.Second))
	if len(got) != 1 || got[0].GetRevision() != 3 || got[0].GetBundles()[0].GetDigest() != "3" {
		t.Fatalf("expected the newest update, got %v", got)
	}
	if _, kept := q.KeepBuild(got[0].GetBundles()[0], 3, "1", begin); kept {
		t.Error("expected the newer version to be tried now")
	}
}

func TestOnlyTheBuildUnderWayEndsAnEntrysWait(t *testing.T) {
	q := newQueue()
	entry := q.Put(bundle("a", "1"), 1, nil)
	entry.Begin("second")
	if entry.End("first") || !entry.Building() {
		t.Error("expected the entry to wait for its own build")
	}
	q.RetryAll(begin)
	if !entry.End("second") || entry.Building() || !entry.Renewed() {
		t.Error("expected the build to have ended, with what it depends on renewed")
	}
	entry.Begin("third")
	if entry.Renewed() {
		t.Error("expected the new build to have all that is new")
	}
}

func TestRetryAllMakesRejectedAPIsDueAndRetryPendingThoseThatWait(t *testing.T) {
	q := newQueue()
	q.Reject(q.Put(bundle("rejected", "1"), 1, nil), errors.New("a mistake"), begin)
	q.Reject(q.Put(bundle("pending", "1"), 1, nil), away, begin)
	q.Put(&nodev1.ApiBundle{Api: "unserved", Digest: "u", Context: "/unserved", Unserved: "no policy"}, 1, nil)
	q.RetryPending(begin)
	if got := dueAPIs(q, begin); !slices.Equal(got, []string{"pending"}) {
		t.Errorf("expected the pending API, got %q", got)
	}
	q.RetryAll(begin)
	if got := dueAPIs(q, begin); !slices.Equal(got, []string{"pending", "rejected"}) {
		t.Errorf("expected both, but not what the controller cannot offer, got %q", got)
	}
}

// Its context may be another API's: a node that forgets that the API is attached would answer 503 there.
func TestAnAttachedAPIIsStoredAsOne(t *testing.T) {
	q, none := newQueue(), func(string) bool { return false }
	message := &nodev1.ApiBundle{Api: "a", Digest: "1", Context: "/a", AttachedTo: []string{"shop"}}
	entry := q.Put(message, 1, nil)
	entry.Pack(func() (*nodev1.ApiBundle, error) { return message, nil })
	stored := q.Unserved(none)
	if len(stored) != 1 || !slices.Equal(stored[0].GetAttachedTo(), []string{"shop"}) {
		t.Errorf("expected an API that is attached to shop, got %v", stored)
	}
}

func TestQueuedAPIsAreAnsweredAndStoredUnlessAVersionRuns(t *testing.T) {
	q := newQueue()
	q.Put(&nodev1.ApiBundle{Api: "a", Digest: "1", Context: "/a", Hosts: []string{"a.example"}, Listeners: []string{"admin"}}, 1, nil)
	b := q.Put(bundle("b", "1"), 1, nil)
	q.Reject(b, transient.Mark(queue.UnresolvedError{Name: "nowhere.example", Cause: errors.New("no such host")}), begin)
	q.Put(bundle("running", "2"), 1, nil)
	q.Put(&nodev1.ApiBundle{Api: "bad", Digest: "1", Context: "bad"}, 1, nil) // its context cannot be read
	runs := func(api string) bool { return api == "running" }
	var answered []string
	for _, fallback := range q.Fallbacks(func(api, context string) bool { return runs(api) && context == "/running" }) {
		answered = append(answered, fallback.API)
	}
	if !slices.Equal(answered, []string{"a", "b"}) {
		t.Errorf("expected fallbacks for a and b, got %q", answered)
	}
	stored := q.Unserved(runs)
	if len(stored) != 2 || stored[0].GetUnserved() != "it was being built" || stored[1].GetUnresolved() != "nowhere.example" ||
		stored[1].GetUnserved() != "upstream: the name nowhere.example does not resolve: no such host" {
		t.Errorf("got %v", stored)
	}
	if !slices.Equal(stored[0].GetHosts(), []string{"a.example"}) || !slices.Equal(stored[0].GetListeners(), []string{"admin"}) {
		t.Errorf("expected its host and its listener alone, got %v", stored[0])
	}
	if got := q.Obstacles(); len(got) != q.Len() || got["b"] != b.Obstacle() || got["b"].Unresolved != "nowhere.example" || got["a"] != (queue.Obstacle{}) {
		t.Errorf("got %v", got)
	}
	q.Remove("b")
	if q.Get("b") != nil || q.Len() != 3 {
		t.Error("expected b to be gone")
	}
}

func TestAnEntryKeepsItsSecretsAndItsUnansweredUpdateIsTransient(t *testing.T) {
	q := newQueue()
	names := []secrets.Ref{{API: "a", Name: "key"}}
	entry := q.Put(bundle("a", "1"), 1, names)
	if got := q.Secrets(); !slices.Equal(got, names) {
		t.Errorf("got %v", got)
	}
	q.Reject(entry, xds.ErrNoAnswer, begin)
	if entry.State() != nodev1.ApiStatus_STATE_PENDING {
		t.Errorf("got %s", entry.State())
	}
}

func TestABuiltMessageIsReadAgainOnceItIsToBeBuiltAgain(t *testing.T) {
	whole, reads := bundle("a", "1"), 0
	entry := newQueue().Put(whole, 1, nil)
	whole.Chains, whole.Hosts = []*nodev1.Chain{{Id: "1"}}, []string{"a.example"}
	broken := errors.New("damaged")
	entry.Pack(func() (*nodev1.ApiBundle, error) {
		if reads++; reads == 1 {
			return nil, broken
		}
		return whole, nil
	})
	if err := entry.Unpack(); !errors.Is(err, broken) || len(entry.Message.GetChains()) > 0 || len(entry.Message.GetHosts()) != 1 || entry.Message.GetDigest() != "1" {
		t.Errorf("expected the outline to stay, got %v, %v", entry.Message, err)
	}
	for range 2 {
		if err := entry.Unpack(); err != nil || entry.Message != whole || reads != 2 {
			t.Errorf("expected the whole message, read once, got %v, %v after %d reads", entry.Message, err, reads)
		}
	}
}
