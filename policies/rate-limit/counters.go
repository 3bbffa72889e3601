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

// counters decide, each node at once by what it knows, and tell the store afterwards what has passed.
//
// For each key a node has a view: the time at which all of the burst is there again (GCRA), as the store has last said it,
// moved on by what the node has let pass since. A request passes where the view lets it. Then, beside the request, what has
// passed is added to the store's time, whether that lets it or not, and the answer is the next view. One such call of a key
// is under way at a time, the next one begins tellEvery later and carries all that has passed meanwhile: a slow store is
// asked more seldom, for more.
//
// So no request waits. What passes beyond the limit is what other nodes let pass between two such calls, not heard of yet.
// It is owed: the store's time lies that much further in the future, all nodes refuse until it is over, and over a
// longer time as much passes as the limit says. Nothing is refused too early, for others only ever add.
type counters struct {
	limits  []limit
	store   v1alpha.Store // nil: nobody is told
	now     func() time.Time
	start   time.Time
	shards  [shards]shard
	most    int          // keys of a shard in one generation
	telling atomic.Int64 // calls of the store under way
	away    atomic.Bool  // the last one failed
	probed  atomic.Int64 // when the store was last asked whether it is back, in microseconds

	ctx  context.Context //nolint:containedctx // of all calls: they belong to the instance, not to a request
	end  context.CancelFunc
	wait sync.WaitGroup
}

const (
	shards      = 16
	defaultKeys = 131_072
	maxLimits   = 4
	maxTelling  = 1024
	probeEvery  = 250_000 // microseconds
	callLimit   = 2 * time.Second
	tellEvery   = 5 * time.Millisecond
)

// shard has a part of the keys. Those that are used move to the recent generation; when that is full it becomes the one
// before, and a key that was not used since is forgotten, unless its next request would be refused (rotate).
type shard struct {
	mu             sync.Mutex
	recent, before map[requestkey.Hash]*counter
}

// counter is the view of one key. The mutex of its shard guards it.
type counter struct {
	tats    [maxLimits]float64 // microseconds since start
	untold  int64
	telling bool
}

// decision is what becomes of a request.
type decision struct {
	allowed    bool
	retryAfter time.Duration
	answers    [maxLimits]v1alpha.Throttled
}

// Release does nothing: an exchange holds the decision for its response.
func (*decision) Release() {}

// newCounters makes counters that know maxKeys at most, in two generations of each shard.
func newCounters(limits []limit, store v1alpha.Store, maxKeys int, now func() time.Time) *counters {
	ctx, end := context.WithCancel(context.Background())
	c := &counters{limits: limits, store: store, now: now, start: now(), most: maxKeys / 2 / shards, ctx: ctx, end: end}
	for i := range c.shards {
		c.shards[i].recent = map[requestkey.Hash]*counter{}
	}
	return c
}

func (c *counters) close() {
	c.end()
	c.wait.Wait()
}

// micros are microseconds since start, by a clock that does not go back.
func (c *counters) micros() float64 { return float64(c.now().Sub(c.start)) / float64(time.Microsecond) }

// take decides on a request.
func (c *counters) take(key requestkey.Hash) (d decision) {
	now := c.micros()
	s := &c.shards[key[0]%shards]
	s.mu.Lock()
	one := c.find(s, key, now)
	var next [maxLimits]float64
	d.allowed = true
	for i, limit := range c.limits {
		next[i], d.answers[i] = limit.Decide(one.tats[i], now, 1)
		if !d.answers[i].Allowed {
			d.allowed = false
			owed := max(0, one.tats[i]-now-d.answers[i].ResetAfter.Seconds()*1e6)
			d.retryAfter = max(d.retryAfter, d.answers[i].RetryAfter+time.Duration(owed)*time.Microsecond)
		}
	}
	tell := false
	if d.allowed {
		one.tats = next
		one.untold++
		tell = c.store != nil && !one.telling && c.telling.Load() < maxTelling
		one.telling = one.telling || tell
	} else {
		c.giveBack(one, now, &d)
	}
	s.mu.Unlock()
	if tell {
		c.telling.Add(1)
		c.wait.Go(func() { c.tell(s, one, key) })
	}
	return d
}

// giveBack has the limits that would have let a refused request pass say how they stand without it.
func (c *counters) giveBack(one *counter, now float64, d *decision) {
	for i, limit := range c.limits {
		if d.answers[i].Allowed {
			_, d.answers[i] = limit.Decide(one.tats[i], now, 0)
		}
	}
}

func (c *counters) find(s *shard, key requestkey.Hash, now float64) *counter {
	one := s.recent[key]
	if one != nil {
		return one
	}
	if one = s.before[key]; one == nil {
		one = &counter{}
	}
	if len(s.recent) >= c.most {
		c.rotate(s, now)
	}
	s.recent[key] = one
	return one
}

// rotate begins a generation. Of the keys that would be forgotten by that, those stay whose next request is refused, or a
// flood of other keys would free them. They fill half of the generation at most: where there are more, those go that are
// refused for the shortest time.
func (c *counters) rotate(s *shard, now float64) {
	waits := make(map[requestkey.Hash]time.Duration, len(s.before))
	for key, one := range s.before {
		if s.recent[key] == nil {
			if wait := c.untilAllowed(one, now); wait > 0 {
				waits[key] = wait
			}
		}
	}
	least := leastOf(c.most/2, waits)
	next := make(map[requestkey.Hash]*counter, c.most)
	for key, wait := range waits {
		if wait >= least && len(next) < c.most/2 {
			next[key] = s.before[key]
		}
	}
	s.before, s.recent = s.recent, next
}

// leastOf returns the shortest of the longest waits, so many of them.
func leastOf(most int, waits map[requestkey.Hash]time.Duration) time.Duration {
	if len(waits) <= most {
		return 0
	}
	sorted := slices.Sorted(maps.Values(waits))
	return sorted[len(sorted)-most]
}

// untilAllowed is the time until all limits let a request of the key pass.
func (c *counters) untilAllowed(one *counter, now float64) (wait time.Duration) {
	for i, limit := range c.limits {
		_, answer := limit.Decide(one.tats[i], now, 1)
		wait = max(wait, answer.RetryAfter)
	}
	return wait
}

// ---------------------------------------------------------------- the store

// withDebt is the limit as the store counts it: what was let pass is added although the burst is used up. More than that is
// not owed.
func withDebt(l v1alpha.Limit) v1alpha.Limit {
	l.Burst = 2*l.Burst + l.Rate
	return l
}

// tell adds what has passed to the store's count until nothing more has, or the store does not answer.
func (c *counters) tell(s *shard, one *counter, key requestkey.Hash) {
	defer c.telling.Add(-1)
	for {
		s.mu.Lock()
		passed := one.untold
		one.untold = 0
		one.telling = passed > 0
		s.mu.Unlock()
		if passed == 0 {
			return
		}
		views, err := c.add(key, passed)
		s.mu.Lock()
		if err != nil { // what has passed meanwhile counts here alone
			one.untold, one.telling = 0, false
			s.mu.Unlock()
			return
		}
		for i, limit := range c.limits {
			interval := float64(limit.Per.Microseconds()) / float64(limit.Rate)
			one.tats[i] = views[i] + float64(one.untold)*interval
		}
		s.mu.Unlock()
		c.pause()
	}
}

func (c *counters) pause() {
	timer := time.NewTimer(tellEvery)
	defer timer.Stop()
	select {
	case <-c.ctx.Done():
	case <-timer.C:
	}
}

// add adds what has passed, and returns the store's times.
func (c *counters) add(key requestkey.Hash, passed int64) (views [maxLimits]float64, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, callLimit)
	defer cancel()
	for i, limit := range c.limits {
		owed := withDebt(limit.Limit)
		asked := c.micros()
		answer, err := c.store.Throttle(ctx, c.name(key, i), owed, min(passed, owed.Burst))
		if err != nil {
			c.away.Store(true)
			return views, err
		}
		views[i] = (asked+c.micros())/2 + float64(answer.ResetAfter.Microseconds())
	}
	c.away.Store(false)
	return views, nil
}

// name is the key of a limit in the store: another limit, or another place in the list, is another one.
func (c *counters) name(key requestkey.Hash, i int) string {
	limit := c.limits[i]
	name := append(hex.AppendEncode(make([]byte, 0, 64), key[:]), '/')
	name = append(strconv.AppendInt(name, limit.Rate, 10), '/')
	return string(strconv.AppendInt(name, int64(limit.Per.Seconds()), 10))
}

// isAway is whether the store has not answered the last call. Now and then it has the store asked again: where requests are
// refused meanwhile, nothing passes that it would be told.
func (c *counters) isAway() bool {
	if c.store == nil || !c.away.Load() {
		return false
	}
	now := int64(c.micros())
	before := c.probed.Load()
	if now-before >= probeEvery && c.probed.CompareAndSwap(before, now) {
		c.wait.Go(func() {
			if _, err := c.add(requestkey.Hash{}, 0); err == nil {
				c.away.Store(false)
			}
		})
	}
	return c.away.Load()
}
