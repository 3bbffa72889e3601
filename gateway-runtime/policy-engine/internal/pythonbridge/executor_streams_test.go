package pythonbridge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// streamingPolicy selects its behaviour by the request's path.
const streamingPolicy = `
import asyncio
import os
import time

from sdk.policy import ImmediateResponse, Reject


async def on_request_stream(ctx, chunks, params):
    what = ctx.path
    if what == "/reject":
        async for chunk in chunks:
            raise Reject(ImmediateResponse(status_code=422, body=b"not " + chunk))
    if what == "/raise":
        yield b"first"
        raise ValueError("the policy's own fault")
    if what == "/block":
        async for chunk in chunks:
            time.sleep(1.5)
    if what == "/slow":
        async for chunk in chunks:
            yield chunk
            time.sleep(1.5)
    if what == "/kill":
        yield b"first"
        os.kill(os.getpid(), 9)
    if what == "/first":
        yield b""
        async for chunk in chunks:
            yield b"had " + chunk
            break
        return
    if what == "/more":
        yield b"before"
    try:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            yield chunk
            if what == "/more":
                yield b"+"
    finally:
        with open(os.path.join(os.path.dirname(__file__), "closed"), "a") as file:
            file.write(what + "\n")
    ctx.metadata["size"] = size
    if ctx.trailers:
        ctx.trailers["x-size"] = str(size)


async def on_response_stream(ctx, chunks, params):
    async for chunk in chunks:
        yield bytes(chunk).upper()
`

// startStreaming is a real executor whose policy streams.
func startStreaming(t testing.TB) (*realExecutor, *Groups, *PythonBridge) {
	t.Helper()
	x := newReal(t, streamingPolicy)
	x.start(t)
	groups := x.connect(t)
	built := await.Receive(t, build(groups), "the policy")
	must(built.err)
	return x, groups, built.policy.(*PythonBridge)
}

// through sends a body to the policy, and returns the output up to an error.
func through(t testing.TB, policy v1alpha.RequestStreamer, req *v1alpha.RequestContext, chunks v1alpha.Chunks) (all []byte, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for chunk, err := range policy.OnRequestStream(ctx, req, chunks) {
		if err != nil {
			return all, err
		}
		all = append(all, chunk...)
	}
	return all, nil
}

func chunksOf(chunks ...string) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		for _, chunk := range chunks {
			if !yield([]byte(chunk), nil) {
				return
			}
		}
	}
}

func TestRealExecutorStreams(t *testing.T) {
	x, groups, policy := startStreaming(t)
	t.Run("a large body, and its trailers", func(t *testing.T) {
		const size = 8 << 20
		req := realRequest("/pass")
		req.Trailers = &v1alpha.Trailers{}
		source := func(yield func([]byte, error) bool) {
			for at := 0; at < size; at += 100 << 10 {
				if !yield(sequenceAt(at, min(100<<10, size-at)), nil) {
					return
				}
			}
			req.Trailers.Headers = v1alpha.Headers{{Name: "x-sum", Value: "1"}}
		}
		got, err := through(t, policy, req, source)
		must(err)
		for at := 0; at < size; at += 1 << 19 {
			if len(got) != size || string(got[at:at+1<<19]) != string(sequenceAt(at, 1<<19)) {
				t.Fatalf("expected %d bytes as they were, got %d", size, len(got))
			}
		}
		if n, _ := req.Metadata.Get("size"); n != int64(size) {
			t.Errorf("expected the size in the metadata, got %v", n)
		}
		if set := v1alpha.Headers(req.Trailers.Set).Get("x-size"); set != strconv.Itoa(size) {
			t.Errorf("expected a trailer with the size, got %+v", req.Trailers)
		}
	})
	t.Run("a response", func(t *testing.T) {
		res := &v1alpha.ResponseContext{Request: request(), StatusCode: 200, Metadata: &v1alpha.ExchangeMetadata{}, Trailers: &v1alpha.Trailers{}}
		var got []byte
		for chunk, err := range policy.OnResponseStream(t.Context(), res, chunksOf("ab", "c")) {
			must(err)
			got = append(got, chunk...)
		}
		if string(got) != "ABC" {
			t.Errorf("expected ABC, got %q", got)
		}
	})
	realGenerators(t, policy)
	t.Run("many at once, of which some go away", func(t *testing.T) { manyRealStreams(t, groups) })
	t.Run("a client that disconnects closes the generator", func(t *testing.T) {
		must(os.RemoveAll(filepath.Join(x.folder, "closed")))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		body := newUpload()
		go func() { body.chunks <- []byte("one") }()
		for _, err := range policy.OnRequestStream(ctx, realRequest("/pass"), body.sequence(ctx)) {
			must(err)
			break
		}
		await.Until(t, "its finally to have run", func() bool {
			_, err := os.Stat(filepath.Join(x.folder, "closed"))
			return err == nil
		})
	})
	t.Run("its own work takes too long", func(t *testing.T) {
		_, err := through(t, policy, realRequest("/block"), chunksOf("a"))
		wantClass(t, err, v1alpha.ClassTimeout)
	})
	t.Run("a process that dies", func(t *testing.T) {
		_, err := through(t, policy, realRequest("/kill"), chunksOf("a"))
		wantClass(t, err, v1alpha.ClassCrashed)
	})
}

// realGenerators are the tests that need only the policy, and leave the process as it was.
func realGenerators(t *testing.T, policy *PythonBridge) {
	t.Helper()
	t.Run("more than it takes", func(t *testing.T) {
		got, err := through(t, policy, realRequest("/more"), chunksOf("a"))
		if must(err); string(got) != "beforea+" {
			t.Errorf("expected what it yields beside the chunks, got %q", got)
		}
	})
	t.Run("an end before that of the input", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		body, got := newUpload(), []byte{}
		go func() { body.chunks <- []byte("one") }()
		for chunk, err := range policy.OnRequestStream(ctx, realRequest("/first"), body.sequence(ctx)) {
			must(err)
			got = append(got, chunk...) // an empty piece comes first, unless it is joined with the next one
		}
		if cancel(); string(got) != "had one" {
			t.Errorf("expected what it yields at the first chunk, got %q", got)
		}
		await.Receive(t, body.left, "the end of asking for chunks")
	})
	t.Run("a rejection", func(t *testing.T) {
		_, err := through(t, policy, realRequest("/reject"), chunksOf("good"))
		rejected, ok := errors.AsType[*v1alpha.Reject](err)
		if !ok || rejected.Response.StatusCode != 422 || string(rejected.Response.Body) != "not good" {
			t.Errorf("expected a Reject, got %v", err)
		}
		if rejected != nil && (!strings.HasSuffix(rejected.File, "good.py") || rejected.Line != 13) {
			t.Errorf("expected where it was raised, got %s:%d", rejected.File, rejected.Line)
		}
	})
	t.Run("an exception after data", func(t *testing.T) {
		got, err := through(t, policy, realRequest("/raise"), chunksOf("a"))
		if wantClass(t, err, v1alpha.ClassException); string(got) != "first" {
			t.Errorf("expected what was yielded before, got %q", got)
		}
	})
}

func manyRealStreams(t *testing.T, groups *Groups) {
	t.Helper()
	patient := metadata
	patient.Timeout = 3 * patience // 200 streams at once: time is not the subject
	built := await.Receive(t, buildAs(groups, patient), "the policy")
	must(built.err)
	policy := built.policy.(*PythonBridge)
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			size, came := 1000*n, 0
			source := func(yield func([]byte, error) bool) {
				for at := 0; at < size; {
					step := min(997, size-at)
					if !yield(sequenceAt(at, step), nil) {
						return
					}
					at += step
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
			defer cancel()
			for chunk, err := range policy.OnRequestStream(ctx, realRequest("/pass"), source) {
				if err != nil {
					if v1alpha.AsFailure(err).Class != v1alpha.ClassOverloaded {
						t.Errorf("stream %d: %v", n, err)
					}
					return
				}
				if string(chunk) != string(sequenceAt(came, len(chunk))) {
					t.Errorf("stream %d is not what it was at %d", n, came)
				}
				if came += len(chunk); n%5 == 0 && came > size/2 {
					return
				}
			}
			if came != size {
				t.Errorf("stream %d has %d of %d bytes", n, came, size)
			}
		})
	}
	all.Wait()
	await.Until(t, "nothing under way", func() bool { return statsOf(groups, 0).UnderWay+statsOf(groups, 0).Queued == 0 })
}

// BenchmarkRealExecutorUpload sends 64 MiB through a generator that passes them on.
func BenchmarkRealExecutorUpload(b *testing.B) {
	const size = 64 << 20
	_, _, policy := startStreaming(b)
	b.SetBytes(size)
	for b.Loop() {
		source := func(yield func([]byte, error) bool) {
			for range size / maxPieceBytes {
				if !yield(make([]byte, maxPieceBytes), nil) {
					return
				}
			}
		}
		came := 0
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		for chunk, err := range policy.OnRequestStream(ctx, realRequest("/pass"), source) {
			must(err)
			came += len(chunk)
		}
		if cancel(); came != size {
			b.Fatalf("expected %d bytes, got %d", size, came)
		}
	}
}
