package pythonbridge

import (
	"context"
	"iter"
	"sync"
	"testing"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestAStreamGoesToTheProcessOfItsSourceAndNamesIt(t *testing.T) {
	_, first, second, policy := pair(t, Options{})
	bridge := policy.(*PythonBridge)
	context1 := bridge.WithSource(t.Context(), nil)
	source := streamIn(context1, t, policy, newUpload())
	began := first.nextFrame().GetExecutions()[0]
	if began.GetSource() != 0 {
		t.Fatalf("expected no source of the first stream, got %d", began.GetSource())
	}
	first.yield(began.GetId(), "a")
	source.want("a")
	streamIn(bridge.WithSource(t.Context(), nil), t, policy, newUpload())
	if got := second.nextFrame().GetExecutions(); len(got) != 1 || got[0].GetSource() != 0 {
		t.Fatalf("expected a stream without a source where fewer are under way, got %v", got)
	}
	for range 2 {
		streamIn(bridge.WithSource(t.Context(), context1), t, policy, newUpload())
		if got := first.nextFrame().GetExecutions(); len(got) != 1 || got[0].GetSource() != began.GetId() {
			t.Fatalf("expected a stream with source %d, got %v", began.GetId(), got)
		}
	}
	first.answer(&executorv1.Action{Id: began.GetId()})
	source.wantEnd()
	streamIn(bridge.WithSource(t.Context(), context1), t, policy, newUpload())
	if got := first.nextFrame().GetExecutions(); len(got) != 1 || got[0].GetSource() != 0 {
		t.Fatalf("expected a stream without a source, for that has been answered, got %v", got)
	}
}

func TestASourceInAnotherProcessIsNotNamed(t *testing.T) {
	_, first, second, policy := pair(t, Options{})
	bridge := policy.(*PythonBridge)
	context1 := bridge.WithSource(t.Context(), nil)
	streamIn(context1, t, policy, newUpload())
	first.yield(first.nextFrame().GetExecutions()[0].GetId(), "a")
	behind := streamIn(bridge.WithSource(t.Context(), context1), t, policy, newUpload())
	refused := first.nextFrameUnacknowledged().GetExecutions()[0]
	first.answer(&executorv1.Action{Id: refused.GetId(), Failure: &executorv1.Failure{
		FailureClass: executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE, Message: "it is stopping",
	}})
	moved := second.nextFrame().GetExecutions()[0]
	if refused.GetSource() == 0 || moved.GetSource() != 0 {
		t.Fatalf("expected a source in the first process only, got %d and %d", refused.GetSource(), moved.GetSource())
	}
	second.answer(&executorv1.Action{Id: moved.GetId()})
	behind.wantEnd()
}

// chained runs a stream, and another one behind it which reads what it yields. paths select what they do. As a chain
// does, it ends the first with the second.
func chained(ctx context.Context, policy *PythonBridge, paths [2]string, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		source := policy.WithSource(ctx, nil)
		next, stop := iter.Pull2(policy.OnRequestStream(source, realRequest(paths[0]), chunks))
		var asking sync.Mutex
		ask := func() ([]byte, error, bool) {
			asking.Lock()
			defer asking.Unlock()
			return next()
		}
		defer func() {
			cancel()
			asking.Lock()
			defer asking.Unlock()
			stop()
		}()
		head, err, more := ask()
		output := func(yield func([]byte, error) bool) {
			for more && yield(head, err) {
				head, err, more = ask()
			}
		}
		policy.OnRequestStream(policy.WithSource(ctx, source), realRequest(paths[1]), output)(yield)
	}
}

func TestRealExecutorLinksStreams(t *testing.T) {
	_, groups, policy := startStreaming(t)
	const size, step = 4 << 20, 50_000
	upload := func(yield func([]byte, error) bool) {
		for at := 0; at < size; at += step {
			if !yield(sequenceAt(at, min(step, size-at)), nil) {
				return
			}
		}
	}
	t.Run("a large body", func(t *testing.T) {
		came := 0
		for chunk, err := range chained(t.Context(), policy, [2]string{"/pass", "/pass"}, upload) {
			must(err)
			if string(chunk) != string(sequenceAt(came, len(chunk))) {
				t.Fatalf("the output is not the body at %d", came)
			}
			came += len(chunk)
		}
		stats := statsOf(groups, 0)
		if came != size || stats.BytesSent != stats.BytesReceived || stats.BytesSent > size+size/2 {
			t.Errorf("expected %d bytes, of which most come to the engine once, got %d; %d were sent, %d received",
				size, came, stats.BytesSent, stats.BytesReceived)
		}
	})
	for _, c := range []struct {
		name  string
		paths [2]string
		want  v1alpha.FailureClass
	}{
		{"a source that fails", [2]string{"/raise", "/pass"}, v1alpha.ClassException},
		{"a source that is late", [2]string{"/slow", "/pass"}, v1alpha.ClassTimeout},
		{"a stream that fails", [2]string{"/pass", "/raise"}, v1alpha.ClassException},
		{"a stream that ends", [2]string{"/pass", "/first"}, ""},
		{"a process that is killed", [2]string{"/pass", "/kill"}, v1alpha.ClassCrashed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var failure error
			for _, err := range chained(t.Context(), policy, c.paths, upload) {
				failure = err
			}
			if c.want == "" {
				must(failure)
			} else {
				wantClass(t, failure, c.want)
			}
			await.Until(t, "nothing under way", func() bool { return statsOf(groups, 0).UnderWay+statsOf(groups, 0).Queued == 0 })
		})
	}
}
