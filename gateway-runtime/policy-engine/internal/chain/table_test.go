package chain_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// chainA is a chain with the id a.
func chainA(t *testing.T) *chain.Chain {
	t.Helper()
	c, err := chain.New(chain.Spec{ID: "a", Instances: []*chain.Instance{get().marks("one", "h")}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTableFindsWhatWasPut(t *testing.T) {
	var table chain.Table
	if _, ok := table.Acquire("a"); ok {
		t.Error("found in an empty table")
	}
	a := chainA(t)
	table.Put(a)
	acquired, ok := table.Acquire("a")
	if !ok || acquired != a || a.Active() != 1 {
		t.Errorf("found %v, %v; active %d", acquired, ok, a.Active())
	}
	acquired.Release()
	if a.Active() != 0 || len(table.All()) != 1 {
		t.Errorf("active %d, %d chains", a.Active(), len(table.All()))
	}
}

// retired is a table with the chain a, retired with a grace of 30 s; gone reports its removal.
func retired(t *testing.T) (table *chain.Table, gone *atomic.Int64) {
	t.Helper()
	table, gone = &chain.Table{}, &atomic.Int64{}
	table.Put(chainA(t))
	start := time.Now()
	table.Retire("a", 30*time.Second, func() { gone.Store(int64(time.Since(start).Seconds())) })
	return table, gone
}

func TestRetiredChainLeavesAfterTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, gone := retired(t)
		time.Sleep(29 * time.Second)
		if c, ok := table.Acquire("a"); !ok {
			t.Error("gone before the grace was over")
		} else {
			c.Release()
		}
		time.Sleep(29 * time.Second)
		if gone.Load() != 0 {
			t.Error("gone before the grace of its last exchange was over")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, ok := table.Acquire("a"); ok || gone.Load() != 59 {
			t.Errorf("found %v; gone after %d s", ok, gone.Load())
		}
	})
}

func TestRetiredChainWaitsForItsExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, gone := retired(t)
		first, _ := table.Acquire("a")
		second, _ := table.Acquire("a")
		time.Sleep(time.Minute)
		first.Release()
		time.Sleep(time.Minute)
		if gone.Load() != 0 {
			t.Error("gone under an exchange")
		}
		second.Release()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if gone.Load() != 150 {
			t.Errorf("expected to go after 150 s, got %d", gone.Load())
		}
	})
}

func TestPutCancelsTheRetirement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, gone := retired(t)
		table.Put(chainA(t))
		time.Sleep(time.Minute)
		synctest.Wait()
		if c, ok := table.Acquire("a"); !ok || gone.Load() != 0 {
			t.Errorf("found %v; gone %d", ok, gone.Load())
		} else {
			c.Release()
		}
	})
}

func TestRetiringTwiceGoesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, first := retired(t)
		var second atomic.Int64
		table.Retire("a", time.Minute, func() { second.Add(1) })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		table.Retire("a", time.Minute, func() { second.Add(1) })
		synctest.Wait()
		if first.Load() != 0 || second.Load() != 2 {
			t.Errorf("first %d, second %d", first.Load(), second.Load())
		}
	})
}

func TestTableUnderUse(t *testing.T) {
	var table chain.Table
	var gone atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				if c, ok := table.Acquire("a"); ok {
					c.Release()
				}
			}
		})
	}
	for range 100 {
		table.Put(chainA(t))
		left := make(chan struct{})
		table.Retire("a", time.Microsecond, func() {
			gone.Add(1)
			close(left)
		})
		<-left
	}
	all.Wait()
	if _, ok := table.Acquire("a"); ok || gone.Load() != 100 {
		t.Errorf("found %v; gone %d", ok, gone.Load())
	}
}

func TestAChainThatIsReplacedIsGoneAfterItsLastExchange(t *testing.T) { synctest.Test(t, testReplaced) }

func testReplaced(t *testing.T) {
	table := &chain.Table{}
	first, second := chainA(t), chainA(t)
	table.Put(first)
	held, _ := table.Acquire("a")
	var gone atomic.Int32
	table.Replace(second, time.Minute, func() { gone.Add(1) })
	now, ok := table.Acquire("a")
	if !ok || now != second || held != first {
		t.Fatal("expected the new chain for who begins, and the old one for who has it")
	}
	now.Release()
	time.Sleep(time.Hour)
	synctest.Wait()
	if gone.Load() != 0 {
		t.Fatal("it went with an exchange in it")
	}
	held.Release()
	time.Sleep(59 * time.Second)
	synctest.Wait()
	if gone.Load() != 0 {
		t.Fatal("it went before its grace was over")
	}
	time.Sleep(2 * time.Second)
	synctest.Wait()
	if now, ok := table.Acquire("a"); gone.Load() != 1 || !ok || now != second {
		t.Errorf("gone %d times, and the new one is there: %v", gone.Load(), ok)
	}
}
