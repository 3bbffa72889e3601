package pythonbridge

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// TestStorm does the same with real streams and all the races: two executors that answer late, out of order or not at
// all, and whose streams break, against callers with short deadlines.
func TestStorm(t *testing.T) {
	x, y := startExecutor(t), startExecutor(t)
	groups := connect(t, Options{QueueLength: 16}, x, y)
	var scripts sync.WaitGroup
	stop := make(chan struct{})
	for _, executor := range []*scriptedExecutor{x, y} {
		scripts.Go(func() { misbehave(executor, stop) })
	}
	ready(t, groups)
	result := await.Receive(t, build(groups), "the policy")
	if result.err != nil {
		t.Fatal(result.err)
	}
	var ends [2]atomic.Int64
	var callers sync.WaitGroup
	for n := range 32 {
		callers.Go(func() { bother(t, result.policy, rand.New(rand.NewPCG(1, uint64(n))), &ends) })
	}
	callers.Wait()
	close(stop)
	scripts.Wait()
	await.Until(t, "nothing under way", func() bool {
		return statsOf(groups, 0).UnderWay+statsOf(groups, 0).Queued+statsOf(groups, 1).UnderWay+statsOf(groups, 1).Queued == 0
	})
	if ends[0].Load() == 0 || ends[1].Load() == 0 {
		t.Fatalf("expected answers and failures, got %d and %d", ends[0].Load(), ends[1].Load())
	}
}

func bother(t *testing.T, policy v1alpha.Policy, dice *rand.Rand, ends *[2]atomic.Int64) {
	for range 150 {
		timeout := time.Duration(dice.IntN(8)) * time.Millisecond
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		if dice.IntN(8) == 0 {
			time.AfterFunc(timeout/2, cancel)
		}
		began := time.Now()
		req := request()
		req.RequestID = strconv.FormatUint(dice.Uint64(), 36)
		action, err := policy.OnRequest(ctx, req)
		cancel()
		if late := time.Since(began) - timeout; late > patience {
			t.Errorf("an execution ended %s after its deadline", late)
		}
		if err == nil {
			if got := action.(*v1alpha.UpstreamRequestModifications).Headers.Set[0].Value; got != req.RequestID {
				t.Errorf("request %s got the answer of %s", req.RequestID, got)
			}
			ends[0].Add(1)
		} else {
			ends[1].Add(1)
		}
	}
}

// misbehave plays an executor stream after stream, until stop.
func misbehave(x *scriptedExecutor, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case c := <-x.streams:
			c.hello()
			misbehaveOn(c, rand.New(rand.NewPCG(2, uint64(len(x.address)))), stop)
		}
	}
}

func misbehaveOn(c *conversation, dice *rand.Rand, stop <-chan struct{}) {
	var late []*executorv1.Action
	for {
		select {
		case <-stop:
			return
		case frame, ok := <-c.frames:
			if !ok {
				return
			}
			for _, configure := range frame.GetConfigure() {
				c.reportInstance(configure.GetInstance(), nil)
			}
			c.ack(1)
			for _, execution := range frame.GetExecutions() {
				header := "id\x00" + string(execution.GetRequestId()) + "\x00"
				late = append(late, &executorv1.Action{Id: execution.GetId(), SetHeaders: []byte(header)})
			}
			dice.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
			now := dice.IntN(len(late) + 1)
			c.answer(late[:now]...)
			late = late[now:]
			switch dice.IntN(120) {
			case 0:
				c.breakStream()
				return
			case 1:
				c.end <- nil
				return
			}
		}
	}
}

// TestAbandonWhileMoving cancels queued executions while they move to another process.
func TestAbandonWhileMoving(t *testing.T) {
	for range 200 {
		w := newMachine()
		first, second := w.members[0], w.members[1]
		w.attach(first)
		waiting := make([]*execution, 6)
		for n := range waiting {
			waiting[n] = &execution{instance: w.instances[0], answers: make(chan outcome, 1), generation: w.generations.current.Load(), deadline: w.now.Add(patience)}
			must(w.group.submit(waiting[n]))
		}
		w.attach(second)
		var ends atomic.Int64
		var both sync.WaitGroup
		both.Go(func() { first.detach(context.Canceled) })
		for _, e := range waiting {
			both.Go(func() {
				if ended, _ := e.abandon(false); ended {
					ends.Add(1)
				}
			})
		}
		both.Wait()
		second.detach(context.Canceled)
		if ends.Load() != int64(len(waiting)) || first.load.Load()+second.load.Load() != 0 {
			t.Fatalf("%d of %d were given up; %d and %d are held", ends.Load(), len(waiting), first.load.Load(), second.load.Load())
		}
	}
}
