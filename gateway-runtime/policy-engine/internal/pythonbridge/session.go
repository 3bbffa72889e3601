package pythonbridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// session is one stream, from dialling to its break: health check, hello, attach, frames both ways, detach.
type session struct {
	process *StreamManager
	health  *healthMonitor
	conn    *grpc.ClientConn
	client  executorv1.PythonExecutorServiceClient
	stream  executorv1.PythonExecutorService_ExecuteStreamClient
	end     context.CancelCauseFunc // ends the session with a cause, of which the first counts

	sending sync.Mutex // held from filling a frame until it is sent
	frame   executorv1.RequestFrame

	collecting    sync.Mutex // held while metrics are collected
	collected     uint64     // version of the last answer
	refusedMetric bool       // a metric was refused, and this is logged
}

var dialOptions = []grpc.DialOption{
	grpc.WithTransportCredentials(insecure.NewCredentials()), // a Unix socket in a private directory
	grpc.WithNoProxy(),
	grpc.WithDisableServiceConfig(),
	grpc.WithDisableRetry(),
	grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window), // fixed, so that gRPC sends no pings to measure it
	grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
}

// runSession runs one session with a process, and reports whether it received a hello, and why it ended.
func runSession(ctx context.Context, m *StreamManager) (attached bool, cause error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	conn, err := grpc.NewClient(m.address, slices.Concat(dialOptions, m.options.dialOptions)...)
	if err != nil {
		return false, fmt.Errorf("dial %s: %w", m.address, err)
	}
	defer func() { _ = conn.Close() }() // no call is left on it
	client := executorv1.NewPythonExecutorServiceClient(conn)
	s := &session{process: m, health: &healthMonitor{process: m, client: client}, conn: conn, client: client, end: end}
	first, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	return true, s.converse(ctx, first)
}

// open starts a stream with a healthy process, and waits for its hello.
func (s *session) open(ctx context.Context) (first *executorv1.ReplyFrame, err error) {
	if err := s.health.admit(ctx); err != nil {
		return nil, err
	}
	address, limit := s.process.address, s.process.options.HelloTimeout
	if s.stream, err = s.client.ExecuteStream(ctx); err != nil {
		return nil, fmt.Errorf("open the stream to %s: %w", address, err)
	}
	timer := time.AfterFunc(limit, func() { s.end(fmt.Errorf("expected hello from %s within %s, got nothing", address, limit)) })
	defer timer.Stop()
	first, err = s.stream.Recv()
	switch {
	case err != nil:
		return nil, fmt.Errorf("receive hello from %s: %w", address, causeOf(ctx, err))
	case first.GetHello() == nil:
		return nil, fmt.Errorf("expected hello in the first reply frame from %s, got none", address)
	}
	return first, nil
}

// converse moves frames until the stream breaks, and returns the cause.
func (s *session) converse(ctx context.Context, first *executorv1.ReplyFrame) error {
	m, hello := s.process, first.GetHello()
	m.log.Info("stream to the executor process", "pid", hello.GetPid(), "python", hello.GetPythonVersion())
	m.attach(hello)
	leaving := make(chan struct{})
	var goroutines sync.WaitGroup
	goroutines.Go(func() { s.noticeLeaving(ctx, leaving) })
	goroutines.Go(func() { s.end(s.sendFrames(ctx)) })
	goroutines.Go(func() { s.end(s.health.watch(ctx, leaving)) })
	goroutines.Go(func() { s.collectMetrics(ctx) })
	m.sender.session.Store(s)
	goroutines.Go(func() { s.repeatLogLevel(ctx) })
	defer m.sender.session.Store(nil)
	first.Hello = nil
	s.end(s.receiveFrames(first)) //nolint:contextcheck // calls of the store have a timeout of their own
	cause := context.Cause(ctx)
	s.detach(cause)
	goroutines.Wait()
	return cause
}

// detach waits until no frame is being sent: executions that detaching moves to another process must not be read here
// any more. Send does not block, since the stream has ended.
func (s *session) detach(cause error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.process.detach(cause)
}

// noticeLeaving closes leaving when the process has begun to stop: it accepts no new calls on the connection, and ends
// the stream once it has answered the executions that it acknowledged.
func (s *session) noticeLeaving(ctx context.Context, leaving chan<- struct{}) {
	// The connection may not be marked as ready yet, although calls are answered on it.
	if s.conn.GetState() == connectivity.Connecting && !s.conn.WaitForStateChange(ctx, connectivity.Connecting) {
		return
	}
	if s.conn.WaitForStateChange(ctx, connectivity.Ready) {
		s.process.stopping.Store(true)
		close(leaving)
	}
}

func (s *session) receiveFrames(frame *executorv1.ReplyFrame) error {
	for {
		s.process.spans.receive(frame.GetSpans(), s.process.options.Spans)
		if err := s.process.accept(frame); err != nil {
			return fmt.Errorf("protocol violation of %s: %w", s.process.address, err)
		}
		received, err := s.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%s: %w", s.process.address, errStreamEnded)
		case err != nil:
			return fmt.Errorf("receive from %s: %w", s.process.address, err)
		}
		frame = received
	}
}

// frameSender has queued frames sent: by the goroutine of an exchange, or by that of the session.
type frameSender struct {
	session   atomic.Pointer[session] // the session that moves the frames; nil without a stream
	wakes     chan struct{}           // holds a token when there may be a frame to send
	gathering atomic.Bool             // a goroutine is about to send
}

// wake has the session's goroutine send.
func (f *frameSender) wake() {
	select {
	case f.wakes <- struct{}{}:
	default:
	}
}

// sendSoon sends at once if no frame is on its way, so that no other goroutine has to wake; otherwise the session's
// goroutine sends. Executions come in bursts, like Envoy's messages: goroutines that are ready run first, so that their
// executions share the frame.
func (f *frameSender) sendSoon() {
	if !f.gathering.CompareAndSwap(false, true) {
		return // the gathering goroutine sends this execution too
	}
	runtime.Gosched()
	f.gathering.Store(false) // before the frame is filled
	if s := f.session.Load(); s == nil || !s.sendNow() {
		f.wake()
	}
}

// sendFrames sends whenever executions wait and credit is left.
func (s *session) sendFrames(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.process.sender.wakes:
		}
		if err := s.sendWaiting(); err != nil {
			return s.sendError(ctx, err)
		}
	}
}

// sendWaiting sends all that waits. Send marshals before it returns, so one frame is reused.
func (s *session) sendWaiting() error {
	s.sending.Lock()
	defer s.sending.Unlock()
	for s.process.fillFrame(&s.frame, time.Now()) {
		if err := s.stream.Send(&s.frame); err != nil {
			return err
		}
	}
	return nil
}

// sendNow sends on the goroutine of an exchange, and reports whether it could. It does so only if Send cannot block,
// since all earlier frames have arrived: an exchange has a deadline, which Send does not know.
func (s *session) sendNow() bool {
	if !s.sending.TryLock() {
		return false
	}
	defer s.sending.Unlock()
	if !s.process.idle() {
		return false
	}
	if s.process.fillFrame(&s.frame, time.Now()) {
		if err := s.stream.Send(&s.frame); err != nil && !errors.Is(err, io.EOF) { // for EOF the receiver has the cause
			s.end(fmt.Errorf("send to %s: %w", s.process.address, err))
		}
	}
	return true
}

// sendError waits for the receiver's error, since Send only knows that the stream has ended.
func (s *session) sendError(ctx context.Context, err error) error {
	if errors.Is(err, io.EOF) {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return fmt.Errorf("send to %s: %w", s.process.address, err)
}

// causeOf prefers the cause of ctx's end to the error that it led to in a call.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
