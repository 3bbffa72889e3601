package pythonbridge

import (
	"context"
	"testing"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/store"
	"gatewright.dev/sdk/policy/v1alpha"
)

// withStore is a policy in one process, with a store in memory.
func withStore(t *testing.T) (*conversation, v1alpha.Policy, v1alpha.Store) {
	t.Helper()
	x := startExecutor(t)
	groups := connect(t, Options{}, x)
	c := x.greet(t)
	ready(t, groups)
	entries := store.New(quiet)
	t.Cleanup(entries.Close)
	about := metadata
	about.Store = entries.Of(about.PolicyName, about.APIName)
	done := buildAs(groups, about)
	c.configureOne()
	result := await.Receive(t, done, "the policy")
	if result.err != nil {
		t.Fatal(result.err)
	}
	return c, result.policy, about.Store
}

func (c *conversation) calls(calls ...*executorv1.StoreCall) {
	for _, call := range calls {
		call.TimeoutUs = uint32(patience.Microseconds())
	}
	c.replies <- &executorv1.ReplyFrame{StoreCalls: calls}
}

// results are those of the next frames, by the calls' ids.
func (c *conversation) results(count int) map[uint64]*executorv1.StoreResult {
	all := map[uint64]*executorv1.StoreResult{}
	for len(all) < count {
		for _, result := range c.nextFrameUnacknowledged().GetStoreResults() {
			all[result.GetId()] = result
		}
	}
	return all
}

func TestAPolicyUsesTheStoreByItsStream(t *testing.T) {
	c, _, entries := withStore(t)
	if _, err := entries.Set(t.Context(), "there", []byte("\x00\xff"), time.Minute, false); err != nil {
		t.Fatal(err)
	}
	c.calls(
		&executorv1.StoreCall{Id: 1, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_GET, Key: []byte("there")},
		&executorv1.StoreCall{Id: 2, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_INCREMENT, Key: []byte("n"), Amount: -3, TtlMs: 1000},
		&executorv1.StoreCall{Id: 3, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_THROTTLE, Key: []byte("t"), Amount: 2, Rate: 5, PerUs: 1e6},
		&executorv1.StoreCall{Id: 4, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_SET, Key: []byte("new"), Value: []byte("x"), TtlMs: 1 << 63},
		&executorv1.StoreCall{Id: 5, Instance: 7, Operation: executorv1.StoreOperation_STORE_OPERATION_GET, Key: []byte("there")},
		&executorv1.StoreCall{Id: 6, Instance: 1, Operation: 99, Key: []byte("there")},
		&executorv1.StoreCall{Id: 7, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_GET, Key: []byte("there"), Shared: true},
		&executorv1.StoreCall{Id: 8, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_GET, Key: []byte("there"), Kept: true},
		&executorv1.StoreCall{Id: 9, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_RESERVE, Key: []byte("b"), Name: []byte("r"), Amount: 5, AtMost: 8, HoldMs: 1000, TtlMs: 1000},
		&executorv1.StoreCall{Id: 10, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_SETTLE, Key: []byte("b"), Name: []byte("other"), Amount: 5},
	)
	got := c.results(10)
	wantBytes(t, "value", got[1].GetValue(), "\x00\xff")
	if !got[1].GetYes() || got[2].GetNumber() != -3 || !got[3].GetYes() || got[3].GetNumber() != 3 || got[3].GetResetAfterUs() != 400_000 {
		t.Errorf("expected the value, -3 and 3 that remain for 400 ms, got %v", got)
	}
	if got[4].GetOutcome() != executorv1.StoreOutcome_STORE_OUTCOME_INVALID || got[6].GetOutcome() != executorv1.StoreOutcome_STORE_OUTCOME_INVALID {
		t.Errorf("expected a ttl that is too long, and an unknown operation, to be invalid, got %v and %v", got[4], got[6])
	}
	if got[5].GetOutcome() != executorv1.StoreOutcome_STORE_OUTCOME_UNAVAILABLE || got[5].GetValue() != nil {
		t.Errorf("expected an instance that there is not to see nothing, got %v", got[5])
	}
	if got[7].GetOutcome() != executorv1.StoreOutcome_STORE_OUTCOME_UNSPECIFIED || got[7].GetYes() {
		t.Errorf("expected the shared store to have keys of its own, got %v", got[7])
	}
	if got[8].GetOutcome() != executorv1.StoreOutcome_STORE_OUTCOME_UNSPECIFIED || got[8].GetYes() {
		t.Errorf("expected the kept store to have keys of its own, got %v", got[8])
	}
	if !got[9].GetYes() || got[9].GetReserved() != 5 || got[10].GetYes() || got[10].GetMessage() != "" {
		t.Errorf("expected 5 to be reserved, and nothing to be settled, got %v and %v", got[9], got[10])
	}
}

func TestResultsNeedNoCredit(t *testing.T) {
	c, policy, _ := withStore(t)
	answer := callWith(t, patience, policy)
	id := c.nextFrameUnacknowledged().GetExecutions()[0].GetId() // and nothing is acknowledged from here on
	waiting := callWith(t, patience, policy)
	c.calls(&executorv1.StoreCall{Id: 1, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_DELETE, Key: []byte("k")})
	frame := c.nextFrameUnacknowledged()
	if len(frame.GetStoreResults()) != 1 || len(frame.GetExecutions()) != 0 {
		t.Fatalf("expected a frame with the result alone, got %v", frame)
	}
	c.replies <- &executorv1.ReplyFrame{FramesAcknowledged: c.acknowledged + 2, Actions: []*executorv1.Action{{Id: id}}}
	c.acknowledged += 2
	if result := await.Receive(t, answer, "the answer"); result.err != nil {
		t.Fatal(result.err)
	}
	c.answer(&executorv1.Action{Id: c.nextFrame().GetExecutions()[0].GetId()})
	if result := await.Receive(t, waiting, "the answer"); result.err != nil {
		t.Fatal(result.err)
	}
}

func TestAStartedExecutionIsNotRetriedWhenTheStoreFails(t *testing.T) {
	_, first, second, policy := pair(t, Options{})
	answer := callWith(t, patience, policy)
	action := refusal(first.nextFrame().GetExecutions()[0].GetId())
	action.Failure.Hook = "on_request"
	first.answer(action)
	wantClass(t, await.Receive(t, answer, "the failure").err, v1alpha.ClassUnavailable)
	select {
	case frame := <-second.frames:
		t.Fatalf("expected the other process to be left alone, it got %v", frame)
	default:
	}
}

func TestTooManyCallsOfOneProcessAreRefused(t *testing.T) {
	c, _, _ := withStore(t)
	m := &StreamManager{placements: newPlacements(), calls: storeCalls{underWay: maxStoreCalls}}
	m.sender.wakes = make(chan struct{}, 1)
	m.placements.byNumber = map[uint32]*placement{1: {instance: &instance{store: refusing{}}}}
	m.acceptStoreCalls([]*executorv1.StoreCall{{Id: 1, Instance: 1}})
	if len(m.calls.results) != 1 || m.calls.results[0].GetOutcome() != executorv1.StoreOutcome_STORE_OUTCOME_UNAVAILABLE {
		t.Errorf("expected a refusal, got %v", m.calls.results)
	}
	c.calls(&executorv1.StoreCall{Id: 1, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_DELETE, Key: []byte("k")})
	c.results(1)
}

// refusing is a store that must not be called.
type refusing struct{ v1alpha.Store }

func TestManyCallsAreAllAnswered(t *testing.T) {
	c, _, entries := withStore(t)
	const count = 2000
	for id := range uint64(count) {
		c.calls(&executorv1.StoreCall{Id: id + 1, Instance: 1, Operation: executorv1.StoreOperation_STORE_OPERATION_INCREMENT, Key: []byte("n"), Amount: 1, TtlMs: 60_000})
	}
	c.results(count)
	sum, err := entries.Increment(context.Background(), "n", 0, time.Minute)
	if err != nil || sum != count {
		t.Errorf("expected %d, got %d, %v", count, sum, err)
	}
}
