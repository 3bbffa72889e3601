package pythonbridge

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/quarantine"
	"gatewright.dev/sdk/policy/v1alpha"
)

// ownerless is the owner of a StreamManager that has no group.
type ownerless struct{}

func (ownerless) reroute(e *execution)                              { e.finish(outcome{err: failUnavailable}) }
func (ownerless) processChanged()                                   {}
func (ownerless) processCrashed([]quarantine.Candidate)             {}
func (ownerless) processHeld([]quarantine.Candidate, string) string { return "" }

// managed is a StreamManager without a stream, connected by hand, with one instance that is ready.
func managed() (*StreamManager, *instance) {
	m := newStreamManager("unix:/x", &generation{}, Options{}.withDefaults(), quiet, ownerless{})
	m.serving.Store(true)
	m.attach(&executorv1.Hello{})
	i := newInstance(&executorv1.ConfigureInstance{PolicyName: "p"})
	m.addInstance(i.addPlacement(m))
	frame := &executorv1.RequestFrame{}
	m.fillFrame(frame, time.Now())
	must(m.accept(&executorv1.ReplyFrame{FramesAcknowledged: 1, Instances: []*executorv1.InstanceStatus{{Instance: frame.Configure[0].Instance}}}))
	return m, i
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func queued(t testing.TB, m *StreamManager, i *instance, bodyBytes int) *execution {
	t.Helper()
	req := request()
	if bodyBytes > 0 {
		req.Body = make([]byte, bodyBytes)
	}
	ctx, cancel := withDeadline(t.Context())
	t.Cleanup(cancel)
	e, err := requestExecution(ctx, i, req)
	must(err)
	must(m.submit(e, i.placementIn(m)))
	return e
}

// framesOf drains the queue, and returns the number of executions and bytes of each frame.
func framesOf(t testing.TB, m *StreamManager) (counts, sizes []int) {
	t.Helper()
	frame := &executorv1.RequestFrame{}
	for m.fillFrame(frame, time.Now()) {
		counts, sizes = append(counts, len(frame.Executions)), append(sizes, proto.Size(frame))
		must(m.accept(&executorv1.ReplyFrame{FramesAcknowledged: m.credit.sent}))
	}
	return counts, sizes
}

func wantCounts(t *testing.T, got []int, want ...int) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("expected frames of %v executions, got %v", want, got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("expected frames of %v executions, got %v", want, got)
		}
	}
}

func TestFramesHoldAtMost256Executions(t *testing.T) {
	m, i := managed()
	for range 600 {
		queued(t, m, i, 0)
	}
	counts, _ := framesOf(t, m)
	wantCounts(t, counts, 256, 256, 88)
}

func TestFramesHoldAtMost256KiB(t *testing.T) {
	m, i := managed()
	for range 10 {
		queued(t, m, i, 60<<10)
	}
	counts, sizes := framesOf(t, m)
	wantCounts(t, counts, 4, 4, 2)
	for _, size := range sizes {
		if size > maxFrameBytes {
			t.Fatalf("expected at most %d bytes in a frame, got %d", maxFrameBytes, size)
		}
	}
}

func TestLargeBodiesTravelAlone(t *testing.T) {
	m, i := managed()
	for _, body := range []int{10, aloneBodyBytes, aloneBodyBytes + 1, 10, 5 << 20, 0} {
		queued(t, m, i, body)
	}
	counts, _ := framesOf(t, m)
	wantCounts(t, counts, 2, 1, 1, 1, 1)
}

func TestConfigurationsAreCappedToo(t *testing.T) {
	m, _ := managed()
	for range 5 {
		m.addInstance(newInstance(&executorv1.ConfigureInstance{Parameters: make([]byte, 100<<10)}).addPlacement(m))
	}
	frame := &executorv1.RequestFrame{}
	for _, want := range []int{3, 2} {
		if !m.fillFrame(frame, time.Now()) || len(frame.Configure) != want {
			t.Fatalf("expected %d configurations in a frame, got %d", want, len(frame.Configure))
		}
		m.credit.acknowledged = m.credit.sent
	}
}

func TestPastItsDeadlineNothingIsSent(t *testing.T) {
	m, i := managed()
	e := queued(t, m, i, 0)
	if m.fillFrame(&executorv1.RequestFrame{}, e.deadline) {
		t.Fatal("expected no frame for an execution whose time is up")
	}
	result := await.Receive(t, e.answers, "the timeout")
	wantClass(t, result.err, v1alpha.ClassTimeout)
	if m.load.Load() != 0 {
		t.Fatalf("expected nothing under way, got %d", m.load.Load())
	}
}

func TestAnAnswerThatIsThereIsNeverLost(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 64 { // both are ready, so select takes either
		e := &execution{answers: make(chan outcome, 1)}
		e.finish(outcome{action: &executorv1.Action{Id: 1}})
		if action, err := e.wait(ctx); action.GetId() != 1 || len(e.answers) != 0 {
			t.Fatalf("expected the answer, got %v, %v; %d left in the channel", action, err, len(e.answers))
		}
	}
}

func TestAnExecutionBeyondTheMessageLimitIsRefused(t *testing.T) {
	_, i := managed()
	req := request()
	req.Body = make([]byte, maxExecutionBytes)
	ctx, cancel := withDeadline(t.Context())
	defer cancel()
	_, err := requestExecution(ctx, i, req)
	wantClass(t, err, v1alpha.ClassBodyTooLarge)
}

func storeResults(sizes ...int) (results []*executorv1.StoreResult) {
	for n, size := range sizes {
		results = append(results, &executorv1.StoreResult{Id: uint64(n), Value: make([]byte, size)})
	}
	return results
}

func TestAFrameWithResultsOfTheStoreIsNoLargerThanAMessage(t *testing.T) {
	m, i := managed()
	queued(t, m, i, maxExecutionBytes-10_000)
	m.calls.results = storeResults(200<<10, v1alpha.MaxStoreValue, 1)
	var executions, results int
	for frame := new(executorv1.RequestFrame); m.fillFrame(frame, time.Now()); {
		if size := proto.Size(frame); size > maxMessageBytes {
			t.Errorf("expected frames of at most %d bytes, got %d", maxMessageBytes, size)
		}
		executions, results = executions+len(frame.Executions), results+len(frame.StoreResults)
	}
	if executions != 1 || results != 3 {
		t.Errorf("expected the execution and 3 results, got %d and %d", executions, results)
	}
}

func TestResultsThatAFrameLeavesAreSentAtOnce(t *testing.T) {
	m, _ := managed()
	m.calls.results = storeResults(maxFrameBytes, 1)
	select {
	case <-m.sender.wakes:
	default:
	}
	if !m.fillFrame(new(executorv1.RequestFrame), time.Now()) || len(m.sender.wakes) != 1 {
		t.Error("expected the session to be woken: an exchange's goroutine sends one frame only")
	}
}

// atOnce is a store that answers at once.
type atOnce struct{ v1alpha.Store }

func (atOnce) Get(context.Context, string) ([]byte, bool, error) { return nil, true, nil }

func TestResultsThatAreNotReadAreBounded(t *testing.T) {
	m, i := managed()
	i.store = atOnce{}
	number := i.placementIn(m).number
	for range 10 {
		m.mu.Lock()
		calls := make([]*executorv1.StoreCall, maxStoreCalls/4)
		for n := range calls {
			calls[n] = &executorv1.StoreCall{Instance: number, Operation: executorv1.StoreOperation_STORE_OPERATION_GET, Key: []byte("k"), TimeoutUs: 1e7}
		}
		before := len(m.calls.results)
		m.acceptStoreCalls(calls)
		m.mu.Unlock()
		awaitResults(t, m, before+len(calls))
	}
	count := 0
	for _, result := range m.calls.results {
		if result.GetYes() {
			count++
		}
	}
	if count != maxStoreCalls {
		t.Errorf("expected %d calls to be made while no result is read, got %d", maxStoreCalls, count)
	}
	for frame := new(executorv1.RequestFrame); m.fillFrame(frame, time.Now()); {
	}
	if m.calls.underWay != 0 {
		t.Errorf("expected none to be under way once all results are sent, got %d", m.calls.underWay)
	}
}

func awaitResults(t *testing.T, m *StreamManager, count int) {
	t.Helper()
	await.Until(t, fmt.Sprintf("%d results", count), func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.calls.results) == count
	})
}
