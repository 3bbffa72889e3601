package grpcstream_test

import (
	"bytes"
	"runtime"
	"testing"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/grpcstream"
)

// goroutine is the name of the goroutine that calls it: "goroutine 12".
func goroutine() string {
	stack := make([]byte, 64)
	name, _, _ := bytes.Cut(stack[:runtime.Stack(stack, false)], []byte(" ["))
	return string(name)
}

// TestAWorkerRunsOneHandlerAfterTheOther: its stack has the size that they need.
func TestAWorkerRunsOneHandlerAfterTheOther(t *testing.T) {
	names := make(chan string, 1)
	h := serve(t, func(stream *grpcstream.Stream) error {
		names <- goroutine()
		return echo(stream)
	})
	p := h.dial(t)
	var first string
	for id := uint32(1); id < 9; id += 2 {
		p.open(id)
		name := next(t, names)
		p.exchange(id, "hello")
		if first == "" {
			first = name
		}
		if name != first {
			t.Errorf("expected %s to run the handler of stream %d, got %s", first, id, name)
		}
		await.Until(t, "the worker to wait", func() bool { return bytes.Contains(allStacks(), []byte(").nextStream(")) })
	}
}

// TestStreamsAtTheSameTimeHaveAWorkerEach: no handler waits for another one, and few workers stay behind.
func TestStreamsAtTheSameTimeHaveAWorkerEach(t *testing.T) {
	const streams, mostIdle = 300, 256
	began, may := make(chan struct{}, streams), make(chan struct{})
	h := serve(t, func(stream *grpcstream.Stream) error {
		began <- struct{}{}
		holdUntil(stream, may)
		return nil
	})
	p := h.dial(t)
	for n := range uint32(streams) {
		p.open(2*n + 1)
	}
	for range streams {
		next(t, began)
	}
	close(may)
	await.Until(t, "44 workers to end", func() bool {
		stacks := allStacks()
		return bytes.Count(stacks, []byte("connection).work(")) == mostIdle && bytes.Count(stacks, []byte(").nextStream(")) == mostIdle
	})
}

// allStacks are those of all goroutines.
func allStacks() []byte {
	stacks := make([]byte, 4<<20)
	return stacks[:runtime.Stack(stacks, true)]
}
