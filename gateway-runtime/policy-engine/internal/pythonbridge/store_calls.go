package pythonbridge

import (
	"context"
	"errors"
	"math"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// maxStoreCalls limits one process's calls until their results are sent; more are refused.
const maxStoreCalls = 4096

// storeCalls are the calls of one process's policies to the store. The mutex of its StreamManager guards them.
//
// The life of a call: accept → a goroutine, which calls the store of the instance's policy → fillFrame. Results need no
// credit: a policy that waits for one may be the reason that the process acknowledges no frames.
type storeCalls struct {
	underWay int
	results  []*executorv1.StoreResult
}

// fillFrame puts results into a frame, up to the limits.
func (c *storeCalls) fillFrame(frame *executorv1.RequestFrame) {
	count, size := 0, 0
	for count < len(c.results) && (count == 0 || size < maxFrameBytes) {
		size += len(c.results[count].GetValue())
		count++
	}
	frame.StoreResults = append(frame.StoreResults, c.results[:count]...)
	c.results = c.results[count:]
	c.underWay -= count
	if len(c.results) == 0 {
		c.results = nil
	}
}

// acceptStoreCalls starts the calls.
func (m *StreamManager) acceptStoreCalls(calls []*executorv1.StoreCall) {
	for _, call := range calls {
		m.calls.underWay++
		p := m.placements.byNumber[call.GetInstance()]
		var refused string
		switch {
		case p == nil:
			refused = "the policy instance is closed"
		case p.instance.store == nil:
			refused = "this engine has no store"
		case m.calls.underWay > maxStoreCalls:
			refused = "too many calls of this executor process are under way"
		default:
			go m.callStore(p.instance.store, m.stream.count, call)
			continue
		}
		m.calls.results = append(m.calls.results, &executorv1.StoreResult{Id: call.GetId(), Outcome: executorv1.StoreOutcome_STORE_OUTCOME_UNAVAILABLE, Message: refused})
		m.sender.wake()
	}
}

// callStore makes one call, and sends its result on the stream that the call came by, if that is still up.
func (m *StreamManager) callStore(store v1alpha.Store, stream uint64, call *executorv1.StoreCall) {
	limit := min(time.Duration(call.GetTimeoutUs())*time.Microsecond, longestExchange)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	result := callStore(ctx, store, call)
	if m.putStoreResult(stream, result) {
		m.sender.sendSoon()
	}
}

func (m *StreamManager) putStoreResult(stream uint64, result *executorv1.StoreResult) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.connected.Load() || m.stream.count != stream {
		return false
	}
	m.calls.results = append(m.calls.results, result)
	return true
}

func callStore(ctx context.Context, store v1alpha.Store, call *executorv1.StoreCall) *executorv1.StoreResult {
	if call.GetShared() {
		store = store.Shared()
	}
	if call.GetKept() {
		store = store.Kept()
	}
	result := &executorv1.StoreResult{Id: call.GetId()}
	key, ttl := string(call.GetKey()), duration(call.GetTtlMs(), time.Millisecond)
	var err error
	switch call.GetOperation() {
	case executorv1.StoreOperation_STORE_OPERATION_GET:
		result.Value, result.Yes, err = store.Get(ctx, key)
	case executorv1.StoreOperation_STORE_OPERATION_SET:
		result.Yes, err = store.Set(ctx, key, call.GetValue(), ttl, call.GetIfAbsent())
	case executorv1.StoreOperation_STORE_OPERATION_INCREMENT:
		result.Number, err = store.Increment(ctx, key, call.GetAmount(), ttl)
	case executorv1.StoreOperation_STORE_OPERATION_EXPIRE:
		result.Yes, err = store.Expire(ctx, key, ttl)
	case executorv1.StoreOperation_STORE_OPERATION_DELETE:
		result.Yes, err = store.Delete(ctx, key)
	case executorv1.StoreOperation_STORE_OPERATION_THROTTLE:
		limit := v1alpha.Limit{Rate: toInt64(call.GetRate()), Per: duration(call.GetPerUs(), time.Microsecond), Burst: toInt64(call.GetBurst())}
		var answer v1alpha.Throttled
		answer, err = store.Throttle(ctx, key, limit, call.GetAmount())
		result.Yes, result.Number = answer.Allowed, answer.Remaining
		result.RetryAfterUs, result.ResetAfterUs = uint64(answer.RetryAfter.Microseconds()), uint64(answer.ResetAfter.Microseconds())
	case executorv1.StoreOperation_STORE_OPERATION_RESERVE:
		budget := v1alpha.Budget{AtMost: call.GetAtMost(), Hold: duration(call.GetHoldMs(), time.Millisecond), TTL: ttl}
		var answer v1alpha.Reserved
		answer, err = store.Reserve(ctx, key, string(call.GetName()), call.GetAmount(), budget)
		result.Yes, result.Number, result.Reserved = answer.Allowed, answer.Spent, answer.Reserved
	case executorv1.StoreOperation_STORE_OPERATION_SETTLE:
		result.Yes, err = store.Settle(ctx, key, string(call.GetName()), call.GetAmount())
	default:
		result.Outcome, result.Message = executorv1.StoreOutcome_STORE_OUTCOME_INVALID, "this engine does not know the operation"
	}
	if err != nil {
		result.Outcome, result.Message = outcomeOf(err), err.Error()
	}
	return result
}

func outcomeOf(err error) executorv1.StoreOutcome {
	switch {
	case errors.Is(err, v1alpha.ErrStoreInput):
		return executorv1.StoreOutcome_STORE_OUTCOME_INVALID
	case errors.Is(err, v1alpha.ErrStoreFull):
		return executorv1.StoreOutcome_STORE_OUTCOME_FULL
	default:
		return executorv1.StoreOutcome_STORE_OUTCOME_UNAVAILABLE
	}
}

// duration is count units, or the longest possible duration.
func duration(count uint64, unit time.Duration) time.Duration {
	if count > math.MaxInt64/uint64(unit) {
		return math.MaxInt64
	}
	return time.Duration(count) * unit
}

func toInt64(number uint64) int64 { return int64(min(number, math.MaxInt64)) }
