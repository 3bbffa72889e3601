package pythonbridge

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// patience is the deadline of executions that are not meant to be late.
const patience = await.Limit

func TestMain(m *testing.M) {
	must(flag.Set("rapid.checks", "3000")) // 100 take 5 ms here; the command line still decides
	goleak.VerifyTestMain(m)
}

// scriptedExecutor is the peer of the protocol: a test reads the frames of each stream and writes the replies.
type scriptedExecutor struct {
	executorv1.UnimplementedPythonExecutorServiceServer
	address   string
	streams   chan *conversation
	logLevels chan string
	server    *grpc.Server

	mu      sync.Mutex
	health  func() (*executorv1.HealthCheckResponse, error)
	collect func(*executorv1.CollectMetricsRequest) *executorv1.CollectMetricsResponse // nil: it has no such method
}

// conversation is one stream, as the executor sees it.
type conversation struct {
	t            testing.TB
	frames       chan *executorv1.RequestFrame
	replies      chan *executorv1.ReplyFrame
	end          chan error
	ended        <-chan struct{}
	acknowledged uint64
}

func newExecutor(t testing.TB) *scriptedExecutor {
	t.Helper()
	x := &scriptedExecutor{streams: make(chan *conversation, 64), logLevels: make(chan string, 64), health: healthy(&executorv1.HealthCheckResponse{Serving: true, Workers: 4})}
	if memory != nil {
		x.address = memory.newAddress()
		return x
	}
	folder, err := os.MkdirTemp("", "gw") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	x.address = "unix:" + filepath.Join(folder, "x.sock")
	return x
}

func startExecutor(t testing.TB) *scriptedExecutor {
	x := newExecutor(t)
	x.start(t)
	return x
}

func (x *scriptedExecutor) start(t testing.TB) {
	t.Helper()
	listener := x.listen(t)
	x.server = grpc.NewServer(grpc.MaxRecvMsgSize(maxMessageBytes), grpc.MaxSendMsgSize(maxMessageBytes))
	executorv1.RegisterPythonExecutorServiceServer(x.server, x)
	go func() { _ = x.server.Serve(listener) }()
	t.Cleanup(x.server.Stop)
}

func (x *scriptedExecutor) listen(t testing.TB) net.Listener {
	t.Helper()
	if memory != nil {
		return memory.listen(x.address)
	}
	path := x.address[len("unix:"):]
	_ = os.Remove(path)
	listener, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func healthy(check *executorv1.HealthCheckResponse) func() (*executorv1.HealthCheckResponse, error) {
	return func() (*executorv1.HealthCheckResponse, error) { return check, nil }
}

func (x *scriptedExecutor) setHealth(health func() (*executorv1.HealthCheckResponse, error)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.health = health
}

func (x *scriptedExecutor) HealthCheck(context.Context, *executorv1.HealthCheckRequest) (*executorv1.HealthCheckResponse, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.health()
}

func (x *scriptedExecutor) CollectMetrics(_ context.Context, request *executorv1.CollectMetricsRequest) (*executorv1.CollectMetricsResponse, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.collect == nil {
		return nil, status.Error(codes.Unimplemented, "not in this script")
	}
	return x.collect(request), nil
}

func (x *scriptedExecutor) ExecuteStream(stream executorv1.PythonExecutorService_ExecuteStreamServer) error {
	c := &conversation{
		frames: make(chan *executorv1.RequestFrame, 1024), replies: make(chan *executorv1.ReplyFrame, 1024),
		end: make(chan error, 1), ended: stream.Context().Done(),
	}
	x.streams <- c
	go func() {
		for {
			frame, err := stream.Recv()
			if err != nil {
				close(c.frames)
				return
			}
			c.frames <- frame
		}
	}()
	for {
		select {
		case reply := <-c.replies:
			if err := stream.Send(reply); err != nil {
				return err
			}
		case err := <-c.end:
			return err
		case <-c.ended:
			return nil
		}
	}
}

// accept returns the next stream, before hello.
func (x *scriptedExecutor) accept(t testing.TB) *conversation {
	t.Helper()
	c := await.Receive(t, x.streams, "a stream")
	c.t = t
	return c
}

// greet returns the next stream, after hello.
func (x *scriptedExecutor) greet(t testing.TB) *conversation {
	t.Helper()
	c := x.accept(t)
	c.hello()
	return c
}

func (c *conversation) hello() {
	c.reply(&executorv1.ReplyFrame{Hello: &executorv1.Hello{Pid: 7, PythonVersion: "3.11.7", Workers: 4}})
}

func (c *conversation) reply(frame *executorv1.ReplyFrame) { c.replies <- frame }

func (c *conversation) breakStream() { c.end <- status.Error(codes.Aborted, "script ends the stream") }

// nextFrameUnacknowledged returns the next frame, and gives no credit for another one.
func (c *conversation) nextFrameUnacknowledged() *executorv1.RequestFrame {
	c.t.Helper()
	return await.Receive(c.t, c.frames, "a frame")
}

// nextFrame returns the next frame and acknowledges it.
func (c *conversation) nextFrame() *executorv1.RequestFrame {
	c.t.Helper()
	frame := c.nextFrameUnacknowledged()
	c.ack(1)
	return frame
}

func (c *conversation) ack(frames int) {
	c.acknowledged += uint64(frames)
	c.reply(&executorv1.ReplyFrame{FramesAcknowledged: c.acknowledged})
}

// configureOne reads the frame that configures one instance, reports it ready, and returns the configuration.
func (c *conversation) configureOne() *executorv1.ConfigureInstance {
	c.t.Helper()
	frame := c.nextFrame()
	if len(frame.GetConfigure()) != 1 {
		c.t.Fatalf("expected a frame that configures one instance, got %v", frame)
	}
	c.reportInstance(frame.GetConfigure()[0].GetInstance(), nil)
	return frame.GetConfigure()[0]
}

func (c *conversation) reportInstance(number uint32, failure *executorv1.Failure) {
	c.reply(&executorv1.ReplyFrame{FramesAcknowledged: c.acknowledged, Instances: []*executorv1.InstanceStatus{{Instance: number, Failure: failure}}})
}

func (c *conversation) answer(actions ...*executorv1.Action) {
	c.reply(&executorv1.ReplyFrame{FramesAcknowledged: c.acknowledged, Actions: actions})
}

// wantNoFrame fails if another frame comes first. It needs the fake clock.
func (c *conversation) wantNoFrame() {
	c.t.Helper()
	synctest.Wait()
	select {
	case frame, ok := <-c.frames:
		if ok {
			c.t.Fatalf("expected no frame, got %v", frame)
		}
	default:
	}
}

// broken waits until the engine has ended the stream.
func (c *conversation) broken() {
	c.t.Helper()
	await.Receive(c.t, c.ended, "the end of the stream")
}

var quiet = slog.New(slog.NewJSONHandler(io.Discard, nil))

func connect(t testing.TB, opts Options, executors ...*scriptedExecutor) *Groups {
	t.Helper()
	var addresses []string
	for _, x := range executors {
		addresses = append(addresses, x.address)
	}
	if memory != nil {
		opts.dialOptions = []grpc.DialOption{grpc.WithContextDialer(memory.dial)}
	}
	groups := NewGroups(map[string][]string{"default": addresses}, opts, quiet)
	t.Cleanup(groups.Close)
	return groups
}

var metadata = v1alpha.Metadata{
	InstanceID: "i1", PolicyName: "add-python-header", PolicyVersion: "v1.0.0", APIName: "orders-v1", APIVersion: "v1.0",
	SystemParams: v1alpha.Params(`{"region":"eu"}`), MaxConcurrency: 16,
	Operation: "GET /{id}", PrepareTimeout: time.Millisecond,
}

type built struct {
	policy v1alpha.Policy
	err    error
}

// build runs a factory beside the script.
func build(groups *Groups) <-chan built { return buildIn(groups, "default", metadata) }

func buildAs(groups *Groups, metadata v1alpha.Metadata) <-chan built {
	return buildIn(groups, "default", metadata)
}

func buildIn(groups *Groups, group string, metadata v1alpha.Metadata) <-chan built {
	done := make(chan built, 1)
	go func() {
		policy, err := groups.BridgeFactory(group)(metadata, v1alpha.Params(`{"name":"X-A"}`))
		done <- built{policy, err}
	}()
	return done
}

// bridgeOn returns a policy that is ready in all the given conversations.
func bridgeOn(t testing.TB, groups *Groups, conversations ...*conversation) v1alpha.Policy {
	t.Helper()
	ready(t, groups)
	return bridgeIn(t, groups, "default", conversations...)
}

func bridgeIn(t testing.TB, groups *Groups, group string, conversations ...*conversation) v1alpha.Policy {
	t.Helper()
	done := buildIn(groups, group, metadata)
	for _, c := range conversations {
		c.configureOne()
	}
	result := await.Receive(t, done, "the policy")
	if result.err != nil {
		t.Fatal(result.err)
	}
	return result.policy
}

func ready(t testing.TB, groups *Groups) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := groups.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

type returned struct {
	action v1alpha.RequestAction
	err    error
}

// call runs on_request beside the script.
func call(ctx context.Context, policy v1alpha.Policy, req *v1alpha.RequestContext) <-chan returned {
	done, _ := start(ctx, policy, req)
	return done
}

// callWith is like call. No such call outlasts its test.
func callWith(t testing.TB, timeout time.Duration, policy v1alpha.Policy) <-chan returned {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	done, ended := start(ctx, policy, request())
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return done
}

func start(ctx context.Context, policy v1alpha.Policy, req *v1alpha.RequestContext) (done chan returned, ended chan struct{}) {
	done, ended = make(chan returned, 1), make(chan struct{})
	go func() {
		defer close(ended)
		action, err := policy.OnRequest(ctx, req)
		done <- returned{action, err}
	}()
	return done, ended
}

func request() *v1alpha.RequestContext {
	return &v1alpha.RequestContext{
		RequestID: "r-1", Method: "GET", Path: "/orders/v1.0/7", Query: "q=1", Scheme: "https", Authority: "api.example",
		ClientAddress: "10.0.0.1:5000", Operation: "GET /{id}", Upstream: "canary", HasBody: true,
		Peer:     &v1alpha.Peer{Subject: "CN=a", DNSNames: []string{"a.example"}, Fingerprint: "00ff"},
		Headers:  v1alpha.Headers{{Name: "accept", Value: "*/*"}, {Name: "x-bin", Value: "\xff\xfe"}, {Name: "accept", Value: ""}},
		Metadata: &v1alpha.ExchangeMetadata{},
	}
}

func wantClass(t testing.TB, err error, class v1alpha.FailureClass) {
	t.Helper()
	if err == nil {
		t.Fatalf("expected a failure of class %s, got none", class)
	}
	if got := v1alpha.AsFailure(err).Class; got != class {
		t.Fatalf("expected class %s, got %v", class, err)
	}
}

// wantCancelled fails the test unless err says that the exchange has ended, and is no failure of the policy.
func wantCancelled(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("expected context.Canceled, got %v", err)
	}
	if failure, ok := errors.AsType[*v1alpha.Failure](err); ok {
		t.Fatalf("expected no failure of the policy, got class %s: %v", failure.Class, err)
	}
}

func statsOf(groups *Groups, index int) ProcessStats { return groups.Stats()[index] }
