package pythonbridge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// ---------------------------------------------------------------- abandoned streams

// moments are the states in which a stream may be abandoned. Each function leads there; sent says whether the process
// knows the stream, and must cancel it.
var moments = map[string]struct {
	sent bool
	come func(c *conversation, r *reader)
}{
	"sent and not read": {true, func(c *conversation, _ *reader) { c.nextFrameUnacknowledged() }},
	"started":           {true, func(c *conversation, _ *reader) { c.nextFrame() }},
	"with a piece on the way": {true, func(c *conversation, r *reader) {
		c.nextFrame()
		r.body.chunks <- []byte("1")
		c.nextFrameUnacknowledged()
	}},
	"with a piece that waits": {true, func(c *conversation, r *reader) {
		c.nextFrame()
		r.body.chunks <- []byte("1")
		c.nextFrameUnacknowledged()
		r.body.chunks <- []byte("2")
	}},
	"with all its room taken": {true, func(c *conversation, r *reader) {
		c.nextFrame()
		r.body.chunks <- make([]byte, 1<<20)
		c.nextFrameUnacknowledged()
		synctest.Wait()
	}},
	"with pieces to read": {true, func(c *conversation, r *reader) {
		id := c.streamBegins()
		c.yield(id, "x", "y", "z")
		r.want("x")
	}},
	"after its input": {true, func(c *conversation, r *reader) {
		id := c.streamBegins()
		close(r.body.chunks)
		c.wantPiece(id, "", true)
	}},
}

func TestAStreamIsCancelledWhenItsIterationStops(t *testing.T) {
	ways := map[string]func(c *conversation, r *reader){
		"its context is done": func(_ *conversation, r *reader) { r.cancel() },
		"no more is wanted": func(c *conversation, r *reader) {
			close(r.stop)
			c.yield(1, "more") // asks whether it is wanted
		},
	}
	for name, moment := range moments {
		for way, leave := range ways {
			t.Run(name+", "+way, func(t *testing.T) {
				withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
					body := newUpload()
					r := stream(t, policy, body)
					moment.come(c, r)
					leave(c, r)
					synctest.Wait()
					if got := statsOf(groups, 0); got.UnderWay+got.Queued != 0 {
						t.Fatalf("expected nothing under way, got %+v", got)
					}
					c.ack(1)
					c.wantCancel(1)
					c.yield(1, "late")
					c.answer(&executorv1.Action{Id: 1})
					c.wantNoFrame()
					for range r.pieces { //nolint:revive // whatever was under way
					}
					r.cancel()
					wantNothingLeft(t, groups, body)
				})
			})
		}
	}
}

func TestAContextThatIsDoneIsAnErrorNotAnEnd(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		r := stream(t, policy, newUpload())
		c.streamBegins()
		r.cancel()
		wantCancelled(t, r.wantError())
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		body := newUpload()
		for _, err := range policy.(v1alpha.RequestStreamer).OnRequestStream(cancelled, request(), body.sequence(cancelled)) {
			wantCancelled(t, err)
		}
		body.wantUntouched(t)
	})
}

func TestReceivedPiecesAreNotYieldedAfterTheContextIsDone(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		r := stream(t, policy, newUpload())
		id := c.streamBegins()
		c.yield(id, "x", "y")
		synctest.Wait() // x is being read
		r.cancel()
		r.want("x")
		_ = r.wantError()
		c.wantCancel(id)
	})
}

func TestASourceThatEndsBecauseTheContextIsDoneIsNotAWholeBody(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &reader{t: t, pieces: make(chan piece), stop: make(chan struct{})}
		go r.read(policy.(v1alpha.RequestStreamer).OnRequestStream(ctx, request(), func(func([]byte, error) bool) { <-ctx.Done() }))
		id := c.streamBegins()
		c.yield(id, "x")
		synctest.Wait() // x is being read, so the stream is not cancelled yet
		cancel()
		c.wantNoFrame()
		r.want("x")
		_ = r.wantError()
		c.wantCancel(id)
	})
}

func TestAStreamThatWasNeverSentIsNotCancelled(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
		callWith(t, patience, policy)
		c.nextFrameUnacknowledged() // no credit for another frame
		body := newUpload()
		r := stream(t, policy, body)
		synctest.Wait()
		r.cancel()
		_ = r.wantError()
		body.wantUntouched(t)
		c.ack(1)
		c.wantNoFrame()
		if got := statsOf(groups, 0); got.UnderWay != 1 || got.Queued != 0 {
			t.Fatalf("expected the other one alone, got %+v", got)
		}
	})
}

// ---------------------------------------------------------------- streams that cannot be started

func TestAStreamThatCannotBeStartedTakesNothing(t *testing.T) {
	t.Run("a full queue", func(t *testing.T) {
		withStreams(t, Options{QueueLength: 1}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
			callWith(t, patience, policy)
			c.nextFrameUnacknowledged()
			callWith(t, patience, policy)
			synctest.Wait()
			body := newUpload()
			wantClass(t, stream(t, policy, body).wantError(), v1alpha.ClassOverloaded)
			body.wantUntouched(t)
		})
	})
	t.Run("no process", func(t *testing.T) {
		withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
			c.breakStream()
			await.Until(t, "the loss", func() bool { return !statsOf(groups, 0).Connected })
			body := newUpload()
			wantClass(t, stream(t, policy, body).wantError(), v1alpha.ClassUnavailable)
			body.wantUntouched(t)
		})
	})
	t.Run("refused by the process with the frame", func(t *testing.T) {
		withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
			body := newUpload()
			r := stream(t, policy, body)
			c.nextFrameUnacknowledged()
			c.acknowledged++
			c.fails(1, executorv1.FailureClass_FAILURE_CLASS_OVERLOADED)
			wantClass(t, r.wantError(), v1alpha.ClassOverloaded)
			body.wantUntouched(t)
			wantNothingLeft(t, groups, body)
		})
	})
	t.Run("not sent in time", func(t *testing.T) {
		withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
			callWith(t, patience, policy)
			c.nextFrameUnacknowledged()
			body, began := newUpload(), time.Now()
			wantClass(t, stream(t, policy, body).wantError(), v1alpha.ClassTimeout)
			if took := time.Since(began); took != time.Second {
				t.Fatalf("expected to wait for its timeout, 1 s, it was %s", took)
			}
			body.wantUntouched(t)
			c.ack(1)
			c.wantNoFrame()
		})
	})
	t.Run("not read in time", func(t *testing.T) {
		withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
			body := newUpload()
			r := stream(t, policy, body)
			c.nextFrameUnacknowledged()
			err := r.wantError()
			wantClass(t, err, v1alpha.ClassTimeout)
			if !v1alpha.AsFailure(err).Logged {
				t.Fatal("expected the executor to say where it is, since it answers its health checks")
			}
			body.wantUntouched(t)
			c.ack(1)
			c.wantCancel(1)
		})
	})
}

func TestTheEngineDoesNotTimeAStartedStream(t *testing.T) {
	const long = 5 * longestExchange // longer than any limit that there is here
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		r := stream(t, policy, newUpload())
		id := c.streamBegins()
		time.Sleep(long)
		c.yield(id, "x")
		r.want("x")
		time.Sleep(long)
		c.answer(&executorv1.Action{Id: id})
		r.wantEnd()
	})
}

func TestAStreamIsParkedUntilItsInstanceIsReady(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		c.breakStream()
		c = x.greet(t)
		ready(t, groups)
		body := given("1")
		r := stream(t, policy, body)
		number := c.nextFrame().GetConfigure()[0].GetInstance()
		c.wantNoFrame()
		body.wantUntouched(t)
		time.Sleep(300 * time.Millisecond)
		c.reportInstance(number, nil)
		began := c.nextFrame().GetExecutions()[0]
		if began.GetTimeoutUs() != 1_000_000 {
			t.Fatalf("expected all of the time for its own work, whenever it is sent, got %d µs", began.GetTimeoutUs())
		}
		id := began.GetId()
		c.wantPiece(id, "1", true)
		c.answer(&executorv1.Action{Id: id})
		r.wantEnd()
	})
}

// ---------------------------------------------------------------- processes that end

func TestACrashEndsTheStreamWhereverItIs(t *testing.T) {
	for name, moment := range moments {
		t.Run(name, func(t *testing.T) {
			withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
				body := newUpload()
				r := stream(t, policy, body)
				moment.come(c, r)
				c.breakStream()
				var last piece
				for last = range r.pieces { // received pieces are not lost
				}
				wantClass(t, last.err, v1alpha.ClassCrashed)
				r.cancel()
				wantNothingLeft(t, groups, body)
			})
		})
	}
}

func TestAStreamMovesOnlyBeforeItHasBegun(t *testing.T) {
	both := func(t *testing.T, test func(t *testing.T, first, second *conversation, body *upload, r *reader)) {
		withFakeClock(t, func(t *testing.T) {
			x, y := startExecutor(t), startExecutor(t)
			groups := connect(t, Options{}, x, y)
			first, second := x.greet(t), y.greet(t)
			policy := bridgeOn(t, groups, first, second)
			body := newUpload()
			r := stream(t, policy, body)
			test(t, first, second, body, r)
			r.cancel()
			for range r.pieces { //nolint:revive // to its end
			}
		})
	}
	goesOn := func(t *testing.T, second *conversation, body *upload, r *reader) {
		t.Helper()
		id := second.streamBegins()
		body.chunks <- []byte("1")
		second.wantPiece(id, "1", false)
		second.yield(id, "x")
		r.want("x")
		second.answer(&executorv1.Action{Id: id})
		r.wantEnd()
	}
	t.Run("an orderly end, unread", func(t *testing.T) {
		both(t, func(t *testing.T, first, second *conversation, body *upload, r *reader) {
			first.nextFrameUnacknowledged()
			first.end <- nil
			goesOn(t, second, body, r)
		})
	})
	t.Run("refused", func(t *testing.T) {
		both(t, func(t *testing.T, first, second *conversation, body *upload, r *reader) {
			first.nextFrameUnacknowledged()
			first.acknowledged++
			first.fails(1, executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE)
			goesOn(t, second, body, r)
		})
	})
	t.Run("refused after it was read", func(t *testing.T) {
		both(t, func(t *testing.T, first, second *conversation, body *upload, r *reader) {
			id := first.streamBegins()
			body.chunks <- []byte("1")
			first.wantPiece(id, "1", false)
			first.fails(id, executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE)
			wantClass(t, r.wantError(), v1alpha.ClassUnavailable)
			second.wantNoFrame()
		})
	})
	t.Run("an orderly end, read", func(t *testing.T) {
		both(t, func(t *testing.T, first, second *conversation, _ *upload, r *reader) {
			first.nextFrame()
			synctest.Wait()
			first.end <- nil
			wantClass(t, r.wantError(), v1alpha.ClassCrashed)
			second.wantNoFrame()
		})
	})
	t.Run("an orderly end after it has yielded", func(t *testing.T) {
		both(t, func(t *testing.T, first, second *conversation, _ *upload, r *reader) {
			first.nextFrameUnacknowledged()
			first.yield(1, "x") // before it says that it has read the frame
			r.want("x")
			first.end <- nil
			wantClass(t, r.wantError(), v1alpha.ClassCrashed)
			second.wantNoFrame()
		})
	})
}

func TestAProcessThatLeavesGoesOnWithItsStreams(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
		body := newUpload()
		r := stream(t, policy, body)
		id := c.streamBegins()
		g := groups.group("default")
		process := g.allProcesses()[0]
		process.leave(time.Minute)
		if left := g.sweep(time.Now()); !left {
			t.Fatal("expected the process to stay for its stream")
		}
		body.chunks <- []byte("1")
		c.wantPiece(id, "1", false)
		c.yield(id, "x")
		r.want("x")
		g.sweep(time.Now().Add(2 * time.Minute))
		wantClass(t, r.wantError(), v1alpha.ClassCrashed) // its time is over
		r.cancel()
		await.Receive(t, body.left, "the end of asking for chunks")
	})
}

func TestStreamingViolationsBreakTheStream(t *testing.T) {
	large := string(make([]byte, maxPieceBytes))
	cases := map[string]*executorv1.ReplyFrame{
		"a piece that is too large": {Pieces: []*executorv1.Piece{{Id: 1, Data: make([]byte, maxPieceBytes+1)}}},
		"a piece without credit": {Pieces: []*executorv1.Piece{{Id: 1, Data: []byte(large)}, {Id: 1, Data: []byte(large)},
			{Id: 1, Data: []byte(large)}, {Id: 1, Data: []byte(large)}, {Id: 1, Data: []byte("x")}}},
		"more credit than was taken": {Credit: []*executorv1.Credit{{Id: 1, Bytes: 1}}},
	}
	for name, violation := range cases {
		t.Run(name, func(t *testing.T) {
			withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
				r := stream(t, policy, newUpload())
				c.nextFrame()
				c.reply(violation)
				c.broken()
				var last piece
				for last = range r.pieces { //nolint:revive // to its end
				}
				wantClass(t, last.err, v1alpha.ClassCrashed)
			})
		})
	}
}

func TestPiecesForOtherExecutionsAreDropped(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
		answer := callWith(t, patience, policy)
		id := c.nextFrame().GetExecutions()[0].GetId()
		c.yield(id, "x")
		c.yield(77, "x")
		c.reply(&executorv1.ReplyFrame{Credit: []*executorv1.Credit{{Id: id, Bytes: 1}, {Id: 77, Bytes: 1}}})
		c.answer(&executorv1.Action{Id: id})
		if err := await.Receive(t, answer, "the answer").err; err != nil {
			t.Fatal(err)
		}
		if got := statsOf(groups, 0); !got.Connected || got.PiecesReceived != 0 {
			t.Fatalf("expected them to be dropped, got %+v", got)
		}
	})
}
