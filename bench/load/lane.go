package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	credit          = 1 // frames that may be sent before one is acknowledged, as in the engine
	frameExecutions = 256
	frameBytes      = 256 << 10
	window          = 16 << 20
	maxMessage      = 64 << 20
)

// lane is the stream to one process, with the executions that are due and those that have been sent. One goroutine sends, one
// receives, and a third makes executions due.
type lane struct {
	plan     executionsPlan
	inFlight int
	conn     *grpc.ClientConn
	stream   grpc.ClientStream
	cancel   context.CancelFunc

	mu           sync.Mutex
	wake         *sync.Cond
	due          []time.Time          // executions to be sent, by the time since when they are due
	sent         map[uint64]time.Time // executions without an answer, by their ids
	lastID       uint64
	frames       uint64 // that were sent
	acknowledged uint64 // of those frames
	over         bool   // no further execution becomes due
	err          error  // that ended the stream

	span  span
	tally tally
}

// openLane opens the stream, and if executions travel in frames, waits until their chain is configured.
func openLane(ctx context.Context, p executionsPlan, socket string) (*lane, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &lane{plan: p, inFlight: p.inFlight / len(p.sockets), cancel: cancel, sent: map[uint64]time.Time{}}
	l.wake = sync.NewCond(&l.mu)
	if err := l.open(ctx, socket); err != nil {
		l.close()
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	return l, nil
}

func (l *lane) open(ctx context.Context, socket string) (err error) {
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage))}
	if dial := l.plan.dial; dial != nil {
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return dial(ctx, "unix", address) }))
	}
	l.conn, err = grpc.NewClient(socket, options...)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	if l.stream, err = l.conn.NewStream(ctx, both, l.plan.method, grpc.WaitForReady(true)); err != nil {
		return fmt.Errorf("open the stream: %w", err)
	}
	if l.plan.framed {
		return l.configure()
	}
	return nil
}

func (l *lane) configure() error {
	l.frames = 1
	if err := l.stream.SendMsg(&l.plan.first); err != nil {
		return fmt.Errorf("send the first frame: %w", err)
	}
	for ready := false; !ready; {
		reply, err := l.receive()
		if err != nil {
			return err
		}
		l.acknowledged = max(l.acknowledged, reply.acknowledged)
		ready = reply.configured
	}
	return nil
}

func (l *lane) close() {
	l.cancel()
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// run sends until the end of the span, and returns when all answers have come or the grace is over.
func (l *lane) run(ctx context.Context, measured span, number int) error {
	l.span = measured
	late := time.AfterFunc(time.Until(measured.end)+l.plan.grace, l.cancel)
	defer late.Stop()
	var helpers sync.WaitGroup
	helpers.Go(l.send)
	helpers.Go(func() { l.generate(ctx, number) })
	err := l.collect()
	l.finish(err)
	helpers.Wait()
	return err
}

// generate makes executions due: in a closed loop as many as may be in flight (each answer makes the next one due), in an open
// loop by the rate. Executions beyond those in flight are not sent, but counted.
func (l *lane) generate(ctx context.Context, number int) {
	if l.plan.rate == 0 {
		l.mu.Lock()
		for range l.inFlight {
			l.due = append(l.due, time.Now())
		}
		l.mu.Unlock()
		l.wake.Broadcast()
		sleep(ctx, time.Until(l.span.end))
	} else {
		l.generateAtRate(ctx, number)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.wake.Broadcast()
}

func (l *lane) generateAtRate(ctx context.Context, number int) {
	lanes := len(l.plan.sockets)
	step := time.Duration(float64(time.Second) * float64(lanes) / l.plan.rate)
	for due := time.Now().Add(step * time.Duration(number) / time.Duration(lanes)); due.Before(l.span.end); {
		sleep(ctx, time.Until(due))
		now := time.Now()
		l.mu.Lock()
		for ; !due.After(now); due = due.Add(step) {
			if len(l.due)+len(l.sent) < l.inFlight {
				l.due = append(l.due, now)
			} else if l.span.holds(due) {
				l.tally.unsent++
			}
		}
		l.mu.Unlock()
		l.wake.Broadcast()
	}
}

// send sends due executions while there is credit, and closes the sending side when there are no more: then the process ends
// the stream after its last answer.
func (l *lane) send() {
	for {
		message, ok := l.next()
		if !ok {
			_ = l.stream.CloseSend() // collect gets the error of a broken stream
			return
		}
		if err := l.stream.SendMsg(&message); err != nil {
			return // collect gets the error
		}
	}
}

// next waits for the next message to send. It returns false if there will be none.
func (l *lane) next() ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.due) == 0 || (l.plan.framed && l.frames-l.acknowledged >= credit) {
		if l.err != nil || (l.over && len(l.due) == 0) {
			return nil, false
		}
		l.wake.Wait()
	}
	if !l.plan.framed {
		return l.plan.appendMessage(nil, l.moveToSent()), true
	}
	l.frames++
	message := make([]byte, 0, min(len(l.due), frameExecutions)*(len(l.plan.message)+16))
	for n := 0; len(l.due) > 0 && n < frameExecutions && (n == 0 || len(message)+len(l.plan.message) < frameBytes); n++ {
		message = l.plan.appendExecution(message, l.moveToSent())
	}
	return message, true
}

// moveToSent moves the execution that has been due for longest to those that were sent, and returns its id.
func (l *lane) moveToSent() uint64 {
	l.lastID++
	l.sent[l.lastID] = l.due[0]
	l.due = l.due[1:]
	return l.lastID
}

// collect receives answers until the stream ends.
func (l *lane) collect() error {
	for {
		reply, err := l.receive()
		if errors.Is(err, io.EOF) {
			return l.checkAnswered()
		}
		if err != nil {
			return err
		}
		l.record(reply)
	}
}

func (l *lane) checkAnswered() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if left := len(l.due) + len(l.sent); left > 0 {
		return fmt.Errorf("expected all to be answered, got a stream that ended with %d unanswered", left)
	}
	return nil
}

func (l *lane) receive() (reply, error) {
	var message []byte
	if err := l.stream.RecvMsg(&message); err != nil {
		return reply{}, fmt.Errorf("receive: %w", err)
	}
	return l.plan.parseReply(message)
}

func (l *lane) record(got reply) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged = max(l.acknowledged, got.acknowledged)
	for _, answer := range got.answers {
		due, ok := l.sent[answer.id]
		if !ok {
			l.tally.fail(fmt.Errorf("expected an answer to an execution that was sent, got one with the id %d", answer.id))
			continue
		}
		delete(l.sent, answer.id)
		if answer.err != nil {
			l.tally.fail(answer.err)
		} else {
			l.tally.add(l.span, due, now)
		}
		if l.plan.rate == 0 && !l.over {
			l.due = append(l.due, now)
		}
	}
	l.wake.Broadcast()
}

func (l *lane) finish(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.over = err, true
	l.wake.Broadcast()
}
