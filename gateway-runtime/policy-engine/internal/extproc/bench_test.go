package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/internal/metrics"
)

// replay is a stream of encoded messages, over and over.
type replay struct {
	ctx   context.Context
	sends [][]byte
	next  int
}

func (r *replay) Context() context.Context { return r.ctx }

func (r *replay) Keep(int) {}

func (r *replay) Receive(context.Context) ([]byte, error) {
	message := r.sends[r.next%len(r.sends)]
	r.next++
	return message, nil
}

func (r *replay) Send(_, _ []byte) error { return nil }

// BenchmarkHeaderExchange measures the engine's own work for a chain of two Go policies, both header phases, without
// gRPC.
func BenchmarkHeaderExchange(b *testing.B) {
	server, stream := serverOf("order"), &replay{ctx: b.Context()}
	request, response := messages("order")
	for _, message := range []proto.Message{request, response} {
		stream.sends = append(stream.sends, must(proto.Marshal(message)))
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := server.Process(stream); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEngine is the same over gRPC, as from Envoy: cpu-µs/op is the CPU time of the engine's process.
func BenchmarkEngine(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the engine does
	overGRPC(b, func() server { return serverOf("order").GRPC() })
}

// BenchmarkMeteredEngine is BenchmarkEngine with metrics of exchanges and executions.
func BenchmarkMeteredEngine(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	overGRPC(b, func() server {
		counted, counters := countedServer("order")
		metrics.New(metrics.Options{Counters: counters, Log: slog.New(slog.DiscardHandler)}).Apply(metrics.Settings{})
		return counted.GRPC()
	})
}

// BenchmarkMinimalServer is a minimal Go ext_proc server of generated code: one header each way.
func BenchmarkMinimalServer(b *testing.B) {
	overGRPC(b, func() server {
		server := grpc.NewServer()
		servicev3.RegisterExternalProcessorServer(server, minimalServer{})
		return server
	})
}

type server interface {
	Serve(net.Listener) error
	Stop()
}

// overGRPC has a process of its own put a load of b.N exchanges on a server, for each number of streams.
func overGRPC(b *testing.B, made func() server) {
	for _, streams := range []int{2, 64} {
		b.Run(fmt.Sprintf("%d-streams", streams), func(b *testing.B) {
			socket := filepath.Join(b.TempDir(), "s")
			server := made()
			listener := must(new(net.ListenConfig).Listen(b.Context(), "unix", socket))
			go func() { _ = server.Serve(listener) }()
			defer server.Stop()
			load := exec.CommandContext(b.Context(), os.Args[0])
			load.Env = append(os.Environ(), fmt.Sprintf("%s=%d,%d,%s", loadVariable, streams, b.N, socket))
			load.Stderr = os.Stderr
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			check(load.Run())
			b.ReportMetric(float64(cpu()-before)/float64(b.N)/float64(time.Microsecond), "cpu-µs/op")
		})
	}
}

// cpu is the CPU time of this process.
func cpu() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

type minimalServer struct {
	servicev3.UnimplementedExternalProcessorServer
}

func (minimalServer) Process(stream servicev3.ExternalProcessor_ProcessServer) error {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		headers := &servicev3.HeadersResponse{Response: &servicev3.CommonResponse{HeaderMutation: &servicev3.HeaderMutation{
			SetHeaders: []*corev3.HeaderValueOption{{
				Header:       &corev3.HeaderValue{Key: "x-minimal", RawValue: []byte("1")},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
		}}}
		answer := &servicev3.ProcessingResponse{Response: &servicev3.ProcessingResponse_RequestHeaders{RequestHeaders: headers}}
		last := message.GetResponseHeaders() != nil
		if last {
			answer.Response = &servicev3.ProcessingResponse_ResponseHeaders{ResponseHeaders: headers}
		}
		if err := stream.Send(answer); err != nil || last {
			return err
		}
	}
}
