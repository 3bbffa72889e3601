package pythonbridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// session is one stream, from dialling to its break: health check, hello, attach, frames both ways, detach.
type session struct {
	*StreamManager
	conn   *grpc.ClientConn
	client executorv1.PythonExecutorServiceClient
	stream executorv1.PythonExecutorService_ExecuteStreamClient
	end    context.CancelCauseFunc // ends the session; the first cause counts

	sending sync.Mutex // from taking a frame until it is sent
	frame   executorv1.RequestFrame
}

var dialOptions = []grpc.DialOption{
	grpc.WithTransportCredentials(insecure.NewCredentials()), // a Unix socket in a private directory
	grpc.WithNoProxy(),
	grpc.WithDisableServiceConfig(),
	grpc.WithDisableRetry(),
	grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window), // fixed: no pings that measure it
	grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
}

// run keeps a session up until ctx is done.
func (m *StreamManager) run(ctx context.Context) {
	wait := backoff{min: m.options.BackoffMin, max: m.options.BackoffMax}
	told := false
	for {
		began := time.Now()
		attached, err := m.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if attached || !told {
			m.log.Warn("no stream to the executor process; connecting until there is one", "cause", err.Error())
		}
		told = true
		if time.Since(began) > m.options.BackoffMax {
			wait.reset()
		}
		if !sleep(ctx, wait.next()) {
			return
		}
	}
}

// session runs one session, and reports whether it got as far as hello and why it ended.
func (m *StreamManager) session(ctx context.Context) (attached bool, cause error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	conn, err := grpc.NewClient(m.address, dialOptions...)
	if err != nil {
		return false, fmt.Errorf("dial %s: %w", m.address, err)
	}
	defer func() { _ = conn.Close() }() // nothing is left to be lost on it
	s := &session{StreamManager: m, conn: conn, client: executorv1.NewPythonExecutorServiceClient(conn), end: end}
	first, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	return true, s.converse(ctx, first)
}

// open begins a stream with a process that is well, and waits for its hello.
func (s *session) open(ctx context.Context) (first *executorv1.ReplyFrame, err error) {
	if err := s.admit(ctx, s.client); err != nil {
		return nil, err
	}
	if s.stream, err = s.client.ExecuteStream(ctx); err != nil {
		return nil, fmt.Errorf("open the stream to %s: %w", s.address, err)
	}
	late := time.AfterFunc(s.options.HelloTimeout, func() {
		s.end(fmt.Errorf("expected hello from %s within %s, got nothing", s.address, s.options.HelloTimeout))
	})
	defer late.Stop()
	first, err = s.stream.Recv()
	switch {
	case err != nil:
		return nil, fmt.Errorf("receive hello from %s: %w", s.address, causeOf(ctx, err))
	case first.GetHello() == nil:
		return nil, fmt.Errorf("expected hello in the first reply frame from %s, got none", s.address)
	}
	return first, nil
}

// converse moves frames until the stream breaks, and returns why it did.
func (s *session) converse(ctx context.Context, first *executorv1.ReplyFrame) error {
	s.log.Info("stream to the executor process", "pid", first.GetHello().GetPid(), "python", first.GetHello().GetPythonVersion())
	s.attach(first.GetHello())
	leaving := make(chan struct{})
	var helpers sync.WaitGroup
	helpers.Go(func() { s.noticeLeaving(ctx, leaving) })
	helpers.Go(func() { s.end(s.sendFrames(ctx)) })
	helpers.Go(func() { s.end(s.watch(ctx, s.client, leaving)) })
	s.current.Store(s)
	defer s.current.Store(nil)
	first.Hello = nil
	s.end(s.receiveFrames(first))
	cause := context.Cause(ctx)
	s.letGo(cause)
	helpers.Wait()
	return cause
}

// letGo detaches once no frame is being sent: what detaching hands on to another process must not be read here any more.
// Send does not wait, for the stream has ended.
func (s *session) letGo(cause error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.detach(cause)
}

// noticeLeaving closes leaving when the process has begun to stop: it takes no new calls on the connection, and ends
// the stream once it has answered what it took in.
func (s *session) noticeLeaving(ctx context.Context, leaving chan<- struct{}) {
	// The connection may not have noted yet that it is ready, although calls are answered on it.
	if s.conn.GetState() == connectivity.Connecting && !s.conn.WaitForStateChange(ctx, connectivity.Connecting) {
		return
	}
	if s.conn.WaitForStateChange(ctx, connectivity.Ready) {
		s.serving.Store(false)
		close(leaving)
	}
}

func (s *session) receiveFrames(frame *executorv1.ReplyFrame) error {
	for {
		if err := s.accept(frame); err != nil {
			return fmt.Errorf("protocol violation of %s: %w", s.address, err)
		}
		received, err := s.stream.Recv()
		if err != nil {
			return receiveError(s.address, err)
		}
		frame = received
	}
}

func receiveError(address string, err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", address, errStreamEnded)
	}
	return fmt.Errorf("receive from %s: %w", address, err)
}

// sendFrames sends whenever something waits and credit is left.
func (s *session) sendFrames(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.wake:
		}
		if err := s.sendWaiting(); err != nil {
			return s.sendError(ctx, err)
		}
	}
}

// sendWaiting sends what waits. Send marshals before it returns, so one frame is used again and again.
func (s *session) sendWaiting() error {
	s.sending.Lock()
	defer s.sending.Unlock()
	for s.takeFrame(&s.frame, time.Now()) {
		if err := s.stream.Send(&s.frame); err != nil {
			return err
		}
	}
	return nil
}

// sendNow sends what waits for the goroutine of an exchange, and reports whether it has. It does so only where Send
// cannot wait, since what was sent before has arrived: an exchange has a deadline, which Send does not know.
func (s *session) sendNow() bool {
	if !s.sending.TryLock() {
		return false
	}
	defer s.sending.Unlock()
	if !s.idle() {
		return false
	}
	if s.takeFrame(&s.frame, time.Now()) {
		if err := s.stream.Send(&s.frame); err != nil && !errors.Is(err, io.EOF) { // of EOF the receiver knows why
			s.end(fmt.Errorf("send to %s: %w", s.address, err))
		}
	}
	return true
}

// sendError waits for the receiver's word, for Send knows only that the stream has ended.
func (s *session) sendError(ctx context.Context, err error) error {
	if errors.Is(err, io.EOF) {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return fmt.Errorf("send to %s: %w", s.address, err)
}

// causeOf prefers why ctx was ended to the error that this made of a call.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func sleep(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// backoff doubles from min to max; half of each wait is jitter.
type backoff struct{ min, max, last time.Duration }

func (b *backoff) reset() { b.last = 0 }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.min), b.max)
	return b.last/2 + rand.N(b.last/2+1)
}
