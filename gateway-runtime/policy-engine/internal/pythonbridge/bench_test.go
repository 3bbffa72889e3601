package pythonbridge

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// echo answers every execution at once, one reply for each frame, as a fast executor would.
func echo(c *conversation) {
	for frame := range c.frames {
		c.acknowledged++
		reply := &executorv1.ReplyFrame{FramesAcknowledged: c.acknowledged}
		for _, configure := range frame.GetConfigure() {
			reply.Instances = append(reply.Instances, &executorv1.InstanceStatus{Instance: configure.GetInstance()})
		}
		for _, execution := range frame.GetExecutions() {
			reply.Actions = append(reply.Actions, &executorv1.Action{Id: execution.GetId(), SetHeaders: []byte("x-a\x001\x00")})
		}
		c.reply(reply)
	}
}

func benchRequest() *v1alpha.RequestContext {
	req := request()
	req.Headers, req.Peer, req.Upstream = nil, nil, "" // as most requests are; a peer is encoded once for all of its own
	for _, name := range []string{"accept", "accept-encoding", "accept-language", "user-agent", "cookie", "x-request-id",
		"x-forwarded-for", "x-forwarded-proto", "authorization", "cache-control", "referer", "content-type"} {
		req.Headers = append(req.Headers, v1alpha.Header{Name: name, Value: "some value of the usual length, 50 bytes or so"})
	}
	return req
}

// With these the test's program is an executor of its own process that echoes: SOCKET. The first answers executions,
// the second has generators.
const (
	echoVariable       = "PYTHONBRIDGE_BENCH_ECHO"
	generatorsVariable = "PYTHONBRIDGE_BENCH_GENERATORS"
)

func init() {
	playAs(echoVariable, echo)
	playAs(generatorsVariable, func(c *conversation) {
		(&generators{c: c, dice: rand.New(rand.NewPCG(5, 5)), of: map[uint64]*generator{}, whole: true}).run()
	})
}

func playAs(variable string, play func(*conversation)) {
	socket, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	x := &scriptedExecutor{address: "unix:" + socket, streams: make(chan *conversation, 16),
		health: healthy(&executorv1.HealthCheckResponse{Serving: true, Workers: 4})}
	x.start(&testing.B{})
	for c := range x.streams {
		c.hello()
		go play(c)
	}
}

func echoProcess(b *testing.B) *Groups { return processThatPlays(b, echoVariable) }

func generatorProcess(t testing.TB) *Groups { return processThatPlays(t, generatorsVariable) }

func processThatPlays(b testing.TB, variable string) *Groups {
	x := newExecutor(b)
	process := exec.CommandContext(context.Background(), os.Args[0])
	process.Env = append(os.Environ(), variable+"="+strings.TrimPrefix(x.address, "unix:"))
	process.Stderr = os.Stderr
	must(process.Start())
	b.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	groups := NewGroups(map[string][]string{"default": {x.address}}, Options{}, quiet)
	b.Cleanup(groups.Close)
	ready(b, groups)
	return groups
}

// benchmarkInFlight runs executions in an executor that does no work. cpu-µs/op is the engine's side.
func benchmarkInFlight(b *testing.B, inFlight int) {
	groups := echoProcess(b)
	result := await.Receive(b, build(groups), "the policy")
	must(result.err)
	b.SetParallelism(max(inFlight/runtime.GOMAXPROCS(0), 1))
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the engine does
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	b.RunParallel(func(loop *testing.PB) {
		req := benchRequest()
		for loop.Next() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			if _, err := result.policy.OnRequest(ctx, req); err != nil {
				b.Error(err)
			}
			cancel()
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/float64(time.Microsecond), "cpu-µs/op")
	stats := statsOf(groups, 0)
	b.ReportMetric(float64(stats.Executions)/float64(stats.Frames), "executions/frame")
}

func cpu() time.Duration {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkOnRequest1InFlight(b *testing.B)   { benchmarkInFlight(b, 1) }
func BenchmarkOnRequest8InFlight(b *testing.B)   { benchmarkInFlight(b, 8) }
func BenchmarkOnRequest64InFlight(b *testing.B)  { benchmarkInFlight(b, 64) }
func BenchmarkOnRequest256InFlight(b *testing.B) { benchmarkInFlight(b, 256) }

// BenchmarkEngineSide is the engine's cost of an execution without a stream: build, queue, frame, marshal, answer.
func BenchmarkEngineSide(b *testing.B) {
	m, i := managed()
	req := benchRequest()
	frame := &executorv1.RequestFrame{}
	ctx, cancel := withDeadline(b.Context())
	defer cancel()
	var wire []byte
	b.ReportAllocs()
	for b.Loop() {
		e, err := requestExecution(ctx, i, req)
		must(err)
		must(m.submit(e, i.placementIn(m)))
		m.fillFrame(frame, time.Now())
		wire, err = proto.MarshalOptions{}.MarshalAppend(wire[:0], frame)
		must(err)
		must(m.accept(&executorv1.ReplyFrame{FramesAcknowledged: m.credit.sent, Actions: []*executorv1.Action{{Id: e.message.Id}}}))
		action, err := e.wait(ctx)
		must(err)
		_, err = requestAction(action, nil)
		must(err)
	}
}
