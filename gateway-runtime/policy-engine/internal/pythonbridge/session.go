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
	"google.golang.org/grpc/credentials/insecure"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// A session is one stream, from dialling to its break: health check, hello, attach, frames both ways, detach.

type frameStream = executorv1.PythonExecutorService_ExecuteStreamClient

var dialOptions = []grpc.DialOption{
	grpc.WithTransportCredentials(insecure.NewCredentials()), // a Unix socket in a private directory
	grpc.WithNoProxy(),
	grpc.WithDisableServiceConfig(),
	grpc.WithDisableRetry(),
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
	client := executorv1.NewPythonExecutorServiceClient(conn)
	stream, hello, err := m.open(ctx, end, client)
	if err != nil {
		return false, err
	}
	return true, m.converse(ctx, end, client, stream, hello)
}

// open begins a stream with a process that is well, and waits for its hello.
func (m *StreamManager) open(ctx context.Context, end context.CancelCauseFunc, client executorv1.PythonExecutorServiceClient) (frameStream, *executorv1.ReplyFrame, error) {
	if err := m.admit(ctx, client); err != nil {
		return nil, nil, err
	}
	stream, err := client.ExecuteStream(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("open the stream to %s: %w", m.address, err)
	}
	late := time.AfterFunc(m.options.HelloTimeout, func() {
		end(fmt.Errorf("expected hello from %s within %s, got nothing", m.address, m.options.HelloTimeout))
	})
	defer late.Stop()
	first, err := stream.Recv()
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("receive hello from %s: %w", m.address, causeOf(ctx, err))
	case first.GetHello() == nil:
		return nil, nil, fmt.Errorf("expected hello in the first reply frame from %s, got none", m.address)
	}
	return stream, first, nil
}

// converse moves frames until the stream breaks, and returns why it did.
func (m *StreamManager) converse(ctx context.Context, end context.CancelCauseFunc, client executorv1.PythonExecutorServiceClient, stream frameStream, first *executorv1.ReplyFrame) error {
	m.log.Info("stream to the executor process", "pid", first.GetHello().GetPid(), "python", first.GetHello().GetPythonVersion())
	m.attach(first.GetHello())
	var helpers sync.WaitGroup
	helpers.Go(func() { end(m.sendFrames(ctx, stream)) })
	helpers.Go(func() { end(m.watch(ctx, client)) })
	first.Hello = nil
	end(m.receiveFrames(stream, first))
	cause := context.Cause(ctx)
	m.detach(cause)
	helpers.Wait()
	return cause
}

func (m *StreamManager) receiveFrames(stream frameStream, frame *executorv1.ReplyFrame) error {
	for {
		if err := m.accept(frame); err != nil {
			return fmt.Errorf("protocol violation of %s: %w", m.address, err)
		}
		received, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive from %s: %w", m.address, err)
		}
		frame = received
	}
}

// sendFrames sends whenever something waits and credit is left. Send marshals before it returns, so one frame is
// used again and again.
func (m *StreamManager) sendFrames(ctx context.Context, stream frameStream) error {
	frame := &executorv1.RequestFrame{}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-m.wake:
		}
		for m.takeFrame(frame, time.Now()) {
			if err := stream.Send(frame); err != nil {
				return m.sendError(ctx, err)
			}
		}
	}
}

// sendError waits for the receiver's word, for Send knows only that the stream has ended.
func (m *StreamManager) sendError(ctx context.Context, err error) error {
	if errors.Is(err, io.EOF) {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return fmt.Errorf("send to %s: %w", m.address, err)
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
