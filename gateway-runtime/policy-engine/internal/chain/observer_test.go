package chain_test

import (
	"context"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// recorder is an Observer that records all events.
type recorder struct {
	mutex    sync.Mutex
	ended    map[chain.Labels][]chain.Execution
	began    int // but for shadow attachments
	closed   int
	skipped  []string // names of policies
	refusals []chain.RefusedMessage
	added    map[chain.ExchangeCount]uint64

	identified []string // methods
	planned    []string
}

// of returns the executions of a policy in the transcripts' operation.
func (r *recorder) of(policy string) []chain.Execution {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.ended[chain.Labels{Policy: policy, API: "orders", Operation: "GET /{id}"}]
}

func (r *recorder) Executions(labels chain.Labels) chain.ExecutionObserver { return &record{r, labels} }

func (r *recorder) Exchanges(chain.Labels) chain.ExchangeObserver { return &exchanges{recorder: r} }

func (r *recorder) Add(chain.EngineCount, uint64) {}

func (r *recorder) MessageRefused(refused chain.RefusedMessage) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.refusals = append(r.refusals, refused)
}

// exchanges records the events of a chain's exchanges.
type exchanges struct{ *recorder }

func (e *exchanges) Add(count chain.ExchangeCount, n uint64) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.added == nil {
		e.added = map[chain.ExchangeCount]uint64{}
	}
	e.added[count] += n
}

func (e *exchanges) Identified(method string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.identified = append(e.identified, method)
}

func (e *exchanges) Planned(plan string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.planned = append(e.planned, plan)
}

func (e *exchanges) Ended(chain.Result, time.Duration) {}

func (e *exchanges) Close() {}

type record struct {
	*recorder
	labels chain.Labels
}

func (r *record) Began() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if !r.labels.Shadow {
		r.began++
	}
}

func (r *record) Ended(execution chain.Execution) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.ended == nil {
		r.ended = map[chain.Labels][]chain.Execution{}
	}
	r.ended[r.labels] = append(r.ended[r.labels], execution)
}

func (r *record) Add(count chain.PolicyCount, _ uint64) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if count == chain.ExecutionsSkipped {
		r.skipped = append(r.skipped, r.labels.Policy)
	}
}

func (r *record) Close() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.closed++
}

func TestAnObserverSeesEachExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := get()
		slow := x.policy(&does{
			name: "slow", request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { time.Sleep(time.Second); return nil, nil },
		}, "h")
		failure := v1alpha.Failf(v1alpha.ClassException, "oh")
		fails := x.policy(&does{
			name: "fails", response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return nil, failure },
		}, "H", goesOn)
		if err := x.run(t, slow, fails); err != nil {
			t.Fatal(err)
		}
		if got, want := x.observer.of("slow:v1.0.0"), []chain.Execution{{RequestID: "id-1", Phase: chain.PhaseRequest, Duration: time.Second, Work: time.Second}}; !reflect.DeepEqual(got, want) {
			t.Errorf("expected %+v, got %+v", want, got)
		}
		want := []chain.Execution{{RequestID: "id-1", Phase: chain.PhaseResponse, Failure: failure, Continued: true}}
		if got := x.observer.of("fails:v1.0.0"); !reflect.DeepEqual(got, want) {
			t.Errorf("expected %+v, got %+v", want, got)
		}
		if x.observer.began != 2 {
			t.Errorf("expected two executions to begin, got %d", x.observer.began)
		}
	})
}

// TestAPolicyWhoseBodyIsTooLargeHasItsTurn: the hook does not run, but a failed execution is recorded.
func TestAPolicyWhoseBodyIsTooLargeHasItsTurn(t *testing.T) {
	x := post("abcd")
	_ = x.run(t, x.marks("sees", "b", limit(3)))
	if got := x.observer.of("sees:v1.0.0"); len(got) != 1 || got[0].Failure.Class != v1alpha.ClassBodyTooLarge || x.observer.began != 1 {
		t.Errorf("got %+v, %d began", got, x.observer.began)
	}
}

// TestAPanicOfTheChainEndsTheExecution: an action that panics while it is checked.
func TestAPanicOfTheChainEndsTheExecution(t *testing.T) {
	x := get()
	action := &v1alpha.UpstreamRequestModifications{AnalyticsMetadata: map[string]any{"x": panics{}}}
	func() {
		defer func() { _ = recover() }()
		_ = x.run(t, x.onRequest("bad", "h", action, nil))
	}()
	if got := x.observer.of("bad:v1.0.0"); len(got) != 1 || !got[0].Cancelled {
		t.Errorf("got %+v", got)
	}
}

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("oh") }

func TestAnObserverSeesRefusedMessages(t *testing.T) {
	x := get()
	for range 101 {
		x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "a", Value: "b"})
	}
	_ = x.run(t, x.marks("one", "h"))
	if got := x.observer.refusals; len(got) != 1 || got[0].Phase != chain.PhaseRequest || got[0].API != "orders" || got[0].Reason == "" {
		t.Errorf("got %+v", got)
	}
}

func TestAClosedChainClosesItsObservers(t *testing.T) {
	x := get()
	c, err := chain.New(chain.Spec{ID: "c", Instances: []*chain.Instance{x.marks("one", "h"), x.marks("two", "h")}, Observer: &x.observer})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(context.Background(), x, nil, nil); err != nil || x.observer.closed != 0 {
		t.Fatalf("%v, %d closed", err, x.observer.closed)
	}
	if c.Close(); x.observer.closed != 2 {
		t.Errorf("expected two, got %d", x.observer.closed)
	}
}

// elsewhere is a policy that runs in another process for a minute, of which its function takes a second.
type elsewhere struct{ punctual }

func (elsewhere) WithWork(ctx context.Context, work *time.Duration) context.Context {
	*work = time.Second
	return ctx
}

// TestWorkIsTheTimeThatTheProcessReports for a policy in another process; for a policy in the engine it is the whole
// turn.
func TestWorkIsTheTimeThatTheProcessReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			policy v1alpha.Policy
			work   time.Duration
			remote bool
		}{
			"here":                 {punctual{sleeper(30 * time.Second)}, 30 * time.Second, false},
			"elsewhere":            {elsewhere{punctual{sleeper(30 * time.Second)}}, time.Second, true},
			"elsewhere, too late":  {elsewhere{punctual{sleeper(2 * time.Minute)}}, time.Second, true},
			"it keeps no deadline": {struct{ *hooks }{sleeper(30 * time.Second)}, 30 * time.Second, false},
		} {
			_, seen := executed(t, instanceOf(c.policy, func(s *chain.Settings) { s.Timeout = time.Minute }))
			if seen.Work != c.work || seen.Remote != c.remote || seen.Duration < 30*time.Second {
				t.Errorf("%s: got %+v", name, seen)
			}
		}
	})
}

// TestPiecesOfBodiesAreReportedAsTheyArrive: pieces that policies read, whatever happens to them, and no others.
func TestPiecesOfBodiesAreReportedAsTheyArrive(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("ab", "cd").answers("efg")
		_ = x.run(t, x.streams(kind, "two", "s", wraps), x.marks("three", "bB"))
		request, response := x.observer.added[chain.BodyBytes[chain.Request]], x.observer.added[chain.BodyBytes[chain.Response]]
		if request != 4 || response != 3 {
			t.Errorf("expected 4 bytes of the request and 3 of the response, got %d and %d", request, response)
		}
		y := post("ab").answers("cd")
		_ = y.run(t, y.marks("one", "hH"))
		if len(y.observer.added) != 0 {
			t.Errorf("expected nothing, got %v", y.observer.added)
		}
	})
}
