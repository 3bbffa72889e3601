package pythonbridge

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// generators plays an executor whose streams yield their input, in pieces of other sizes and within the credit of both
// sides, until the stream to it ends.
type generators struct {
	c     *conversation
	dice  *rand.Rand
	of    map[uint64]*generator
	fail  int  // one of so many streams fails at each frame; 0: none does
	whole bool // pieces are as large as may be
}

type generator struct {
	waiting []byte
	credit  int
	taken   int
	ended   bool
}

func (g *generators) run() {
	for frame := range g.c.frames {
		g.c.acknowledged++
		reply := &executorv1.ReplyFrame{FramesAcknowledged: g.c.acknowledged}
		for _, configure := range frame.GetConfigure() {
			reply.Instances = append(reply.Instances, &executorv1.InstanceStatus{Instance: configure.GetInstance()})
		}
		for _, execution := range frame.GetExecutions() {
			g.of[execution.GetId()] = &generator{credit: creditWindow}
		}
		for _, piece := range frame.GetPieces() {
			if of := g.of[piece.GetId()]; of != nil {
				of.waiting = append(of.waiting, piece.GetData()...)
				of.ended = piece.GetLast()
			}
		}
		for _, credit := range frame.GetCredit() {
			if of := g.of[credit.GetId()]; of != nil {
				of.credit += int(credit.GetBytes())
			}
		}
		for _, id := range frame.GetCancel() {
			delete(g.of, id)
		}
		if g.whole {
			g.yieldTouched(reply, frame)
		} else {
			for id, of := range g.of {
				g.yield(reply, id, of)
			}
		}
		g.c.reply(reply)
	}
}

// yieldTouched serves the streams that the frame concerns, of which there may be thousands.
func (g *generators) yieldTouched(reply *executorv1.ReplyFrame, frame *executorv1.RequestFrame) {
	touched := map[uint64]bool{}
	for _, piece := range frame.GetPieces() {
		touched[piece.GetId()] = true
	}
	for _, credit := range frame.GetCredit() {
		touched[credit.GetId()] = true
	}
	for id := range touched {
		if of := g.of[id]; of != nil {
			g.yield(reply, id, of)
		}
	}
}

func (g *generators) yield(reply *executorv1.ReplyFrame, id uint64, of *generator) {
	for of.credit > 0 && len(of.waiting) > 0 {
		size := min(len(of.waiting), maxPieceBytes)
		if !g.whole {
			size = min(size, 1+g.dice.IntN(maxPieceBytes))
		}
		reply.Pieces = append(reply.Pieces, &executorv1.Piece{Id: id, Data: of.waiting[:size:size]})
		of.waiting = of.waiting[size:]
		of.credit -= size
		of.taken += size
	}
	if of.taken >= creditGivenBack {
		reply.Credit = append(reply.Credit, &executorv1.Credit{Id: id, Bytes: uint32(of.taken)})
		of.taken = 0
	}
	switch {
	case g.fail > 0 && g.dice.IntN(g.fail) == 0:
		reply.Actions = append(reply.Actions, &executorv1.Action{Id: id, Failure: &executorv1.Failure{FailureClass: executorv1.FailureClass_FAILURE_CLASS_EXCEPTION}})
		delete(g.of, id)
	case of.ended && len(of.waiting) == 0:
		reply.Actions = append(reply.Actions, &executorv1.Action{Id: id})
		delete(g.of, id)
	}
}

// download iterates a stream of random chunks, and returns how it ended: nil if all have come.
func download(t *testing.T, policy v1alpha.RequestStreamer, dice *rand.Rand) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	total, broken := dice.IntN(3*creditWindow), errors.New("the source broke")
	if dice.IntN(6) == 0 {
		time.AfterFunc(time.Duration(dice.IntN(3000))*time.Microsecond, cancel)
	}
	breaksAt, leavesAt := total+1, total+1
	switch dice.IntN(8) {
	case 0:
		breaksAt = dice.IntN(total + 1)
	case 1:
		leavesAt = dice.IntN(total + 1)
	}
	sizes := rand.New(rand.NewPCG(dice.Uint64(), 1))
	source := func(yield func([]byte, error) bool) {
		for at := 0; ; {
			switch size := min(1+sizes.IntN(100<<10), total-at, breaksAt-at); {
			case at == breaksAt || ctx.Err() != nil:
				yield(nil, broken)
				return
			case at == total || !yield(sequenceAt(at, size), nil):
				return
			default:
				at += size
			}
		}
	}
	req, came := request(), 0
	for chunk, err := range policy.OnRequestStream(ctx, req, source) {
		if err != nil {
			return err
		}
		if string(chunk) != string(sequenceAt(came, len(chunk))) {
			t.Errorf("%d bytes at %d are not those that were given", len(chunk), came)
		}
		if came += len(chunk); came >= leavesAt {
			return errIterationStopped
		}
	}
	if came != total || breaksAt <= total {
		t.Errorf("a stream of %d bytes ended after %d as if it were whole", total, came)
	}
	return nil
}

// TestStormOfStreams runs many streams at once, over real sockets: those that succeed are complete, and none leaves any
// state.
func TestStormOfStreams(t *testing.T) {
	x, y := startExecutor(t), startExecutor(t)
	groups := connect(t, Options{}, x, y)
	stop := make(chan struct{})
	var scripts sync.WaitGroup
	for n, executor := range []*scriptedExecutor{x, y} {
		scripts.Go(func() { playGenerators(executor, stop, uint64(n)) })
	}
	ready(t, groups)
	result := await.Receive(t, build(groups), "the policy")
	must(result.err)
	var whole, failed atomic.Int64
	var callers sync.WaitGroup
	for n := range 24 {
		callers.Go(func() {
			dice := rand.New(rand.NewPCG(3, uint64(n)))
			for range 20 {
				if err := download(t, result.policy.(v1alpha.RequestStreamer), dice); err == nil {
					whole.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	callers.Wait()
	close(stop)
	scripts.Wait()
	await.Until(t, "nothing under way", func() bool {
		return statsOf(groups, 0).UnderWay+statsOf(groups, 0).Queued+statsOf(groups, 1).UnderWay+statsOf(groups, 1).Queued == 0
	})
	if whole.Load() == 0 || failed.Load() == 0 {
		t.Fatalf("expected streams that end well and others, got %d and %d", whole.Load(), failed.Load())
	}
	t.Logf("%d were whole, %d failed", whole.Load(), failed.Load())
}

// playGenerators serves one stream to the process after another; some of them end soon.
func playGenerators(x *scriptedExecutor, stop <-chan struct{}, seed uint64) {
	dice := rand.New(rand.NewPCG(4, seed))
	for {
		select {
		case <-stop:
			return
		case c := <-x.streams:
			c.hello()
			if dice.IntN(2) == 0 {
				end := []error{nil, status.Error(codes.Aborted, "script ends the stream")}[dice.IntN(2)]
				time.AfterFunc(time.Duration(dice.IntN(200))*time.Millisecond, func() { c.end <- end })
			}
			go (&generators{c: c, dice: dice, of: map[uint64]*generator{}, fail: 400}).run()
		}
	}
}
