package pythonbridge

import (
	"context"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// echo answers every execution at once, one reply for each frame, as a fast executor would.
func echo(c *conversation) {
	for frame := range c.frames {
		c.taken++
		reply := &executorv1.ReplyFrame{FramesTakenIn: c.taken}
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
	req.Headers = nil
	for _, name := range []string{"accept", "accept-encoding", "accept-language", "user-agent", "cookie", "x-request-id",
		"x-forwarded-for", "x-forwarded-proto", "authorization", "cache-control", "referer", "content-type"} {
		req.Headers = append(req.Headers, v1alpha.Header{Name: name, Value: "some value of the usual length, 50 bytes or so"})
	}
	return req
}

func benchmarkInFlight(b *testing.B, inFlight int) {
	x := startExecutor(b)
	groups := connect(b, Options{}, x)
	c := x.greet(b)
	go echo(c)
	ready(b, groups)
	result := receive(b, build(groups), "the policy")
	must(result.err)
	b.SetParallelism(max(inFlight/runtime.GOMAXPROCS(0), 1))
	b.ReportAllocs()
	b.ResetTimer()
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
	stats := statsOf(groups, 0)
	b.ReportMetric(float64(stats.Executions)/float64(stats.Frames), "executions/frame")
}

func BenchmarkOnRequest2InFlight(b *testing.B)   { benchmarkInFlight(b, 2) }
func BenchmarkOnRequest64InFlight(b *testing.B)  { benchmarkInFlight(b, 64) }
func BenchmarkOnRequest256InFlight(b *testing.B) { benchmarkInFlight(b, 256) }

// BenchmarkEngineSide is what an execution costs the engine without any stream: build, queue, frame, marshal, answer.
func BenchmarkEngineSide(b *testing.B) {
	m, i := managed()
	req := benchRequest()
	frame := &executorv1.RequestFrame{}
	ctx, cancel := bounded(b.Context())
	defer cancel()
	var wire []byte
	b.ReportAllocs()
	for b.Loop() {
		e, err := requestExecution(ctx, i, req)
		must(err)
		must(m.submit(e, i.at(m)))
		m.takeFrame(frame, time.Now())
		wire, err = proto.MarshalOptions{}.MarshalAppend(wire[:0], frame)
		must(err)
		must(m.accept(&executorv1.ReplyFrame{FramesTakenIn: m.framesSent, Actions: []*executorv1.Action{{Id: e.message.Id}}}))
		action, err := e.wait(ctx)
		must(err)
		_, err = requestAction(action, nil)
		must(err)
	}
}
