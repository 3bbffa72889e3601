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
	credit          = 1 // frames sent and not yet taken in, as the engine has it
	frameExecutions = 256
	frameBytes      = 256 << 10
	window          = 16 << 20
	maxMessage      = 64 << 20
)

// lane is the stream to one process: which executions are due, which were sent. One goroutine sends, one receives, in an open
// loop a third says when executions are due.
type lane struct {
	plan     executionsPlan
	inFlight int
	conn     *grpc.ClientConn
	stream   grpc.ClientStream
	cancel   context.CancelFunc

	mu     sync.Mutex
	wake   *sync.Cond
	due    []time.Time // to be sent, and since when
	sent   map[uint64]time.Time
	lastID uint64
	frames uint64 // sent
	taken  uint64 // in, of those
	over   bool   // no more are due
	err    error  // that ended the stream

	span  span
	tally tally
}

// openLane opens the stream, and where executions travel in frames waits until what they name is configured.
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
		l.taken = max(l.taken, reply.taken)
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

// run sends until the end of the span, and returns when all answers are in, or the grace is over.
func (l *lane) run(ctx context.Context, measured span, number int) error {
	l.span = measured
	late := time.AfterFunc(time.Until(measured.end)+l.plan.grace, l.cancel)
	defer late.Stop()
	var helpers sync.WaitGroup
	helpers.Go(l.send)
	helpers.Go(func() { l.generate(ctx, number) })
	err := l.collect()
	l.end(err)
	helpers.Wait()
	return err
}

// generate makes executions due: in a closed loop those in flight at once (an answer makes the next one due), in an open loop
// by the schedule. What cannot be in flight in time is not sent, and counted.
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
		l.follow(ctx, number)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.wake.Broadcast()
}

func (l *lane) follow(ctx context.Context, number int) {
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

// send sends what is due while there is credit, and says when there is no more: then the process ends the stream once it
// has answered all.
func (l *lane) send() {
	for {
		message, ok := l.next()
		if !ok {
			_ = l.stream.CloseSend() // of a stream that is broken already, the receiver hears
			return
		}
		if err := l.stream.SendMsg(&message); err != nil {
			return // the receiver hears why
		}
	}
}

// next waits for the next message; false: there will be none.
func (l *lane) next() ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.due) == 0 || (l.plan.framed && l.frames-l.taken >= credit) {
		if l.err != nil || (l.over && len(l.due) == 0) {
			return nil, false
		}
		l.wake.Wait()
	}
	if !l.plan.framed {
		return l.plan.appendMessage(nil, l.take()), true
	}
	l.frames++
	message := make([]byte, 0, min(len(l.due), frameExecutions)*(len(l.plan.message)+16))
	for n := 0; len(l.due) > 0 && n < frameExecutions && (n == 0 || len(message)+len(l.plan.message) < frameBytes); n++ {
		message = l.plan.appendExecution(message, l.take())
	}
	return message, true
}

// take makes the execution that has been due for longest one of those sent, and returns its id.
func (l *lane) take() uint64 {
	l.lastID++
	l.sent[l.lastID] = l.due[0]
	l.due = l.due[1:]
	return l.lastID
}

// collect takes answers in until the stream ends.
func (l *lane) collect() error {
	for {
		reply, err := l.receive()
		if errors.Is(err, io.EOF) {
			return l.unanswered()
		}
		if err != nil {
			return err
		}
		l.accept(reply)
	}
}

func (l *lane) unanswered() error {
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
	return l.plan.read(message)
}

func (l *lane) accept(got reply) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = max(l.taken, got.taken)
	for _, answer := range got.answers {
		due, ok := l.sent[answer.id]
		if !ok {
			l.tally.fail(fmt.Errorf("expected an answer to what was sent, got one with the id %d", answer.id))
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

func (l *lane) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.over = err, true
	l.wake.Broadcast()
}
