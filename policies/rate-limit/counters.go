package ratelimit

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gatewright.dev/sdk/policy/requestkey"
	"gatewright.dev/sdk/policy/v1alpha"
)

// counters decide at once by the node's own state, and report the requests that have passed to the store afterwards.
//
// For each key a node has a view: the time at which the whole burst is available again (GCRA), as the store has last reported
// it, advanced by the requests that the node has admitted since. A request passes if the view allows it. Then, in the
// background, the requests that have passed are added to the store's time, whether it allows them or not, and the answer is the
// next view. A key has one such call under way at a time; the next one begins syncInterval later and reports all requests that
// have passed meanwhile, so that a slow store gets fewer and larger calls.
//
// So no request waits. Requests beyond the limit pass only if several nodes admit them between two such calls. They become a
// debt: the store's time lies that much further in the future, and all nodes refuse until then, so that over a longer time the
// limit holds. No request is refused too early, since other nodes only ever add to the time.
type counters struct {
	limits      []limit
	store       v1alpha.Store // nil: counts are not shared
	now         func() time.Time
	start       time.Time
	shards      [shards]shard
	maxKeys     int          // of a generation of a shard
	syncing     atomic.Int64 // calls of the store under way
	unavailable atomic.Bool  // the last call failed
	probed      atomic.Int64 // time of the last probe while the store does not answer, in microseconds

	*calls
}

// calls are the calls of the store that are under way, of all counters of an instance.
type calls struct {
	ctx  context.Context //nolint:containedctx // for all calls, which belong to the instance, not to a request
	end  context.CancelFunc
	wait sync.WaitGroup
}

func newCalls() *calls {
	ctx, end := context.WithCancel(context.Background())
	return &calls{ctx: ctx, end: end}
}

// close ends the calls. No request comes from then on.
func (c *calls) close() {
	c.end()
	c.wait.Wait()
}

const (
	shards       = 16
	defaultKeys  = 131_072
	maxLimits    = 4
	maxSyncing   = 1024
	probeEvery   = 250_000 // microseconds
	callLimit    = 2 * time.Second
	syncInterval = 5 * time.Millisecond
)

// shard has a part of the keys. Used keys move to the recent generation. When that is full, it becomes the previous one, and
// keys that were not used since are dropped, unless their next request would be refused (rotate).
type shard struct {
	mu               sync.Mutex
	recent, previous map[requestkey.Hash]*counter
}

// counter is the view of one key. The mutex of its shard guards it.
type counter struct {
	tats    [maxLimits]float64 // microseconds since start
	unsent  int64
	syncing bool
}

// decision is the decision on a request.
type decision struct {
	limiter    *limiter
	allowed    bool
	retryAfter time.Duration
	answers    [maxLimits]v1alpha.Throttled
}

// Release does nothing: an exchange keeps the decision for its response.
func (*decision) Release() {}

// newCounters makes counters for at most maxKeys keys, in two generations of each shard.
func newCounters(limits []limit, store v1alpha.Store, maxKeys int, now func() time.Time, calls *calls) *counters {
	c := &counters{limits: limits, store: store, now: now, start: now(), maxKeys: maxKeys / 2 / shards, calls: calls}
	for i := range c.shards {
		c.shards[i].recent = map[requestkey.Hash]*counter{}
	}
	return c
}

// micros returns the microseconds since start, by a monotonic clock.
func (c *counters) micros() float64 { return float64(c.now().Sub(c.start)) / float64(time.Microsecond) }

// decide decides on a request.
func (c *counters) decide(key requestkey.Hash) (d decision) {
	now := c.micros()
	s := &c.shards[key[0]%shards]
	s.mu.Lock()
	entry := c.find(s, key, now)
	var next [maxLimits]float64
	d.allowed = true
	for i, limit := range c.limits {
		next[i], d.answers[i] = limit.Decide(entry.tats[i], now, 1)
		if !d.answers[i].Allowed {
			d.allowed = false
			debt := max(0, entry.tats[i]-now-d.answers[i].ResetAfter.Seconds()*1e6)
			d.retryAfter = max(d.retryAfter, d.answers[i].RetryAfter+time.Duration(debt)*time.Microsecond)
		}
	}
	report := false
	if d.allowed {
		entry.tats = next
		entry.unsent++
		report = c.store != nil && !entry.syncing && c.syncing.Load() < maxSyncing
		entry.syncing = entry.syncing || report
	} else {
		c.refund(entry, now, &d)
	}
	s.mu.Unlock()
	if report {
		c.syncing.Add(1)
		c.wait.Go(func() { c.sync(s, entry, key) })
	}
	return d
}

// refund recomputes the answers of the limits that would have admitted a refused request, as if it had not come.
func (c *counters) refund(entry *counter, now float64, d *decision) {
	for i, limit := range c.limits {
		if d.answers[i].Allowed {
			_, d.answers[i] = limit.Decide(entry.tats[i], now, 0)
		}
	}
}

func (c *counters) find(s *shard, key requestkey.Hash, now float64) *counter {
	entry := s.recent[key]
	if entry != nil {
		return entry
	}
	if entry = s.previous[key]; entry == nil {
		entry = &counter{}
	}
	if len(s.recent) >= c.maxKeys {
		c.rotate(s, now)
	}
	s.recent[key] = entry
	return entry
}

// rotate begins a generation. Of the keys that would be dropped, those stay whose next request would be refused: otherwise a
// flood of other keys would lift the refusal. They fill at most half of the generation; beyond that, the keys with the
// shortest wait are dropped.
func (c *counters) rotate(s *shard, now float64) {
	waits := make(map[requestkey.Hash]time.Duration, len(s.previous))
	for key, entry := range s.previous {
		if s.recent[key] == nil {
			if wait := c.untilAllowed(entry, now); wait > 0 {
				waits[key] = wait
			}
		}
	}
	least := minWait(c.maxKeys/2, waits)
	next := make(map[requestkey.Hash]*counter, c.maxKeys)
	for key, wait := range waits {
		if wait >= least && len(next) < c.maxKeys/2 {
			next[key] = s.previous[key]
		}
	}
	s.previous, s.recent = s.recent, next
}

// minWait returns the shortest of the count longest waits; 0 if there are no more than count.
func minWait(count int, waits map[requestkey.Hash]time.Duration) time.Duration {
	if len(waits) <= count {
		return 0
	}
	sorted := slices.Sorted(maps.Values(waits))
	return sorted[len(sorted)-count]
}

// untilAllowed returns the time until all limits admit a request of the key.
func (c *counters) untilAllowed(entry *counter, now float64) (wait time.Duration) {
	for i, limit := range c.limits {
		_, answer := limit.Decide(entry.tats[i], now, 1)
		wait = max(wait, answer.RetryAfter)
	}
	return wait
}

// ---------------------------------------------------------------- the store

// withDebt returns the limit for the store's count, to which requests that have passed are added even if the burst is used up.
// The debt is at most a burst and a period's requests.
func withDebt(l v1alpha.Limit) v1alpha.Limit {
	l.Burst = 2*l.Burst + l.Rate
	return l
}

// sync adds requests that have passed to the store's count, until there are no more or the store does not answer.
func (c *counters) sync(s *shard, entry *counter, key requestkey.Hash) {
	defer c.syncing.Add(-1)
	for {
		s.mu.Lock()
		passed := entry.unsent
		entry.unsent = 0
		entry.syncing = passed > 0
		s.mu.Unlock()
		if passed == 0 {
			return
		}
		views, err := c.add(key, passed)
		s.mu.Lock()
		if err != nil { // requests that have passed meanwhile count only on this node
			entry.unsent, entry.syncing = 0, false
			s.mu.Unlock()
			return
		}
		for i, limit := range c.limits {
			interval := float64(limit.Per.Microseconds()) / float64(limit.Rate)
			entry.tats[i] = views[i] + float64(entry.unsent)*interval
		}
		s.mu.Unlock()
		c.pause()
	}
}

func (c *counters) pause() {
	timer := time.NewTimer(syncInterval)
	defer timer.Stop()
	select {
	case <-c.ctx.Done():
	case <-timer.C:
	}
}

// add adds requests that have passed, and returns the store's times.
func (c *counters) add(key requestkey.Hash, passed int64) (views [maxLimits]float64, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, callLimit)
	defer cancel()
	for i, limit := range c.limits {
		extended := withDebt(limit.Limit)
		begin := c.micros()
		answer, err := c.store.Throttle(ctx, c.name(key, i), extended, min(passed, extended.Burst))
		if err != nil {
			c.unavailable.Store(true)
			return views, err
		}
		views[i] = (begin+c.micros())/2 + float64(answer.ResetAfter.Microseconds())
	}
	c.unavailable.Store(false)
	return views, nil
}

// name returns the key of a limit in the store. Another limit, or another place in the list, has another key.
func (c *counters) name(key requestkey.Hash, i int) string {
	limit := c.limits[i]
	name := append(hex.AppendEncode(make([]byte, 0, 64), key[:]), '/')
	name = append(strconv.AppendInt(name, limit.Rate, 10), '/')
	return string(strconv.AppendInt(name, int64(limit.Per.Seconds()), 10))
}

// isUnavailable reports whether the store has not answered the last call. Then it probes the store every probeEvery, since no other
// call is made while requests are refused.
func (c *counters) isUnavailable() bool {
	if c.store == nil || !c.unavailable.Load() {
		return false
	}
	now := int64(c.micros())
	last := c.probed.Load()
	if now-last >= probeEvery && c.probed.CompareAndSwap(last, now) {
		c.wait.Go(func() {
			if _, err := c.add(requestkey.Hash{}, 0); err == nil {
				c.unavailable.Store(false)
			}
		})
	}
	return c.unavailable.Load()
}
