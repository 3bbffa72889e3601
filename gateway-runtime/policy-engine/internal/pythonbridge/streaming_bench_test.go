package pythonbridge

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// idleStreams opens streams in an executor of its own process, each of which has received one chunk, has yielded it,
// and waits for the next one. The source of a body costs a channel.
func idleStreams(t testing.TB, groups *Groups, policy v1alpha.Policy, count int) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var readers, first sync.WaitGroup
	readers.Add(count)
	first.Add(count)
	event := []byte("data: 1\n\n")
	source := func(yield func([]byte, error) bool) {
		if yield(event, nil) {
			<-ctx.Done()
			yield(nil, ctx.Err())
		}
	}
	for range count {
		go func() {
			defer readers.Done()
			for _, err := range policy.(v1alpha.ResponseStreamer).OnResponseStream(ctx, benchResponse(), source) {
				if err == nil {
					first.Done()
				}
			}
		}()
	}
	first.Wait()
	await.Until(t, "all idle", func() bool { return statsOf(groups, 0).Streams == count })
	return func() {
		cancel()
		readers.Wait()
	}
}

func benchResponse() *v1alpha.ResponseContext {
	req := benchRequest()
	return &v1alpha.ResponseContext{Request: req, StatusCode: 200, Headers: req.Headers[:6], Trailers: &v1alpha.Trailers{}, Metadata: req.Metadata}
}

func memoryInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// TestAnIdleStreamIsSmall bounds the memory of 2,000 waiting streams: both goroutines, with the iterating one's stack,
// and all of their state.
func TestAnIdleStreamIsSmall(t *testing.T) {
	const count, most = 2000, 15 << 10
	groups := generatorProcess(t)
	about := metadata
	about.Timeout = patience // 2,000 at once take long on a machine that is busy, and a stream that fails is waited for
	result := await.Receive(t, buildAs(groups, about), "the policy")
	must(result.err)
	idleStreams(t, groups, result.policy, 16)() // what is made once
	before := memoryInUse()
	end := idleStreams(t, groups, result.policy, count)
	perStream := int64(memoryInUse()-before) / count
	end()
	t.Logf("%d bytes for each idle stream", perStream)
	if perStream > most {
		t.Fatalf("expected at most %d bytes for each idle stream, got %d", most, perStream)
	}
}

// BenchmarkStream is a stream of 20 chunks of 100 bytes through an executor that yields its input.
func BenchmarkStream(b *testing.B) {
	groups := generatorProcess(b)
	result := await.Receive(b, build(groups), "the policy")
	must(result.err)
	chunk := make([]byte, 100)
	b.SetParallelism(8)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	b.RunParallel(func(loop *testing.PB) {
		for loop.Next() {
			came := make(chan struct{}, 1)
			source := func(yield func([]byte, error) bool) {
				for range 20 {
					if !yield(chunk, nil) {
						return
					}
					<-came
				}
			}
			for _, err := range result.policy.(v1alpha.ResponseStreamer).OnResponseStream(context.Background(), benchResponse(), source) {
				must(err)
				came <- struct{}{}
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/20/float64(time.Microsecond), "cpu-µs/chunk")
}

// BenchmarkUpload is the engine's cost of 64 MiB in chunks of 64 KiB, with an executor that yields them.
func BenchmarkUpload(b *testing.B) {
	const size = 64 << 20
	groups := generatorProcess(b)
	result := await.Receive(b, build(groups), "the policy")
	must(result.err)
	b.SetBytes(size)
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		came := 0
		source := func(yield func([]byte, error) bool) {
			for range size / maxPieceBytes {
				if !yield(make([]byte, maxPieceBytes), nil) {
					return
				}
			}
		}
		for data, err := range result.policy.(v1alpha.RequestStreamer).OnRequestStream(context.Background(), benchRequest(), source) {
			must(err)
			came += len(data)
		}
		if came != size {
			b.Fatalf("expected %d bytes, got %d", size, came)
		}
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/float64(time.Millisecond), "cpu-ms/op")
}
