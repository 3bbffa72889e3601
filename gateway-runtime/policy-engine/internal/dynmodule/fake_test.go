package dynmodule_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/dynmodule"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/extproc"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// ---------------------------------------------------------------- policies

// passing is a policy that never blocks: it sets a header in both phases.
type passing struct{}

func (passing) NeverBlocks() {}
func (passing) Close() error { return nil }
func (passing) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "x-seen", Value: "request"}}}}, nil
}

func (passing) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "x-seen", Value: "response"}}}}, nil
}

// panicking never blocks, and panics in both phases.
type panicking struct{ passing }

func (panicking) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	panic("oh")
}

// waiting waits in each phase until the test lets it go on, or the exchange is gone.
type waiting struct {
	passing
	turn chan struct{}
}

func (w waiting) wait(ctx context.Context) error {
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w waiting) OnRequest(ctx context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if err := w.wait(ctx); err != nil {
		return nil, err
	}
	return w.passing.OnRequest(ctx, r)
}

func (w waiting) OnResponse(ctx context.Context, r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if err := w.wait(ctx); err != nil {
		return nil, err
	}
	return w.passing.OnResponse(ctx, r)
}

// leaving ends the goroutine that it runs in.
type leaving struct{ waiting }

func (leaving) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	runtime.Goexit()
	return nil, nil
}

// answering answers each request.
type answering struct{ passing }

func (answering) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return &v1alpha.ImmediateResponse{StatusCode: 418, Body: []byte("tea")}, nil
}

// ---------------------------------------------------------------- Envoy

// fakeEnvoy is the part of Envoy that a module sees, with workers that are threads of their own.
type fakeEnvoy struct {
	mu         sync.Mutex
	schedulers map[uintptr]*filter // that have not been deleted
	next       uintptr
	mistakes   []string
	filters    map[uintptr]*filter
}

// worker runs its tasks in order, on one thread.
type worker struct {
	tasks chan func()
	ended chan struct{}
}

func newWorker() *worker {
	w := &worker{make(chan func(), 1024), make(chan struct{})}
	go func() {
		defer close(w.ended)
		runtime.LockOSThread() // as in a callback of C: a coroutine is resumed here alone
		for task := range w.tasks {
			task()
		}
	}()
	return w
}

// do runs a task on the worker, and waits for it.
func (w *worker) do(task func()) {
	done := make(chan struct{})
	w.tasks <- func() { defer close(done); task() }
	<-done
}

func (w *worker) stop() {
	close(w.tasks)
	<-w.ended
}

// filter is one HTTP filter of Envoy's, and what the hooks in C know of it. Its worker owns it.
type filter struct {
	address         uintptr
	worker          *worker
	module          *dynmodule.Module
	id              dynmodule.ID
	destroyed       bool
	finished        bool
	failed          bool
	paused          [2]bool
	passed          [2]bool
	answered        int // the status of an immediate response; 0: none
	scheduledEvents int
	idle            chan struct{} // a value after each scheduled event
}

func newEnvoy() *fakeEnvoy {
	return &fakeEnvoy{schedulers: map[uintptr]*filter{}, filters: map[uintptr]*filter{}}
}

func (e *fakeEnvoy) mistake(text string) { e.mistakes = append(e.mistakes, text) }

func (e *fakeEnvoy) newFilter(m *dynmodule.Module, w *worker) *filter {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next++
	f := &filter{address: e.next, worker: w, module: m, idle: make(chan struct{}, 64)}
	e.filters[f.address] = f
	return f
}

func (e *fakeEnvoy) NewScheduler(address uintptr) uintptr {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.filters[address]
	if f == nil || f.destroyed {
		e.mistake("a scheduler of a filter that is gone")
	}
	e.next++
	e.schedulers[e.next] = f
	return e.next
}

func (e *fakeEnvoy) Commit(scheduler uintptr) {
	e.mu.Lock()
	f := e.schedulers[scheduler]
	if f == nil {
		e.mistake("a commit to a scheduler that has been deleted")
	}
	e.mu.Unlock()
	if f != nil {
		f.worker.tasks <- f.scheduled
	}
}

func (e *fakeEnvoy) DeleteScheduler(scheduler uintptr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.schedulers[scheduler] == nil {
		e.mistake("a scheduler was deleted twice")
	}
	delete(e.schedulers, scheduler)
}

// ---------------------------------------------------------------- hooks, as in hooks.c

func (f *filter) request(message []byte) {
	if f.finished || f.passed[1] {
		return
	}
	f.settle(f.module.Request(f.address, 0, message, nil), chain.Request)
}

func (f *filter) response(message []byte) {
	f.paused[chain.Request] = false
	if f.finished {
		f.passed[chain.Response] = true
		return
	}
	f.settle(f.module.Response(f.address, f.id, message, nil), chain.Response)
}

func (f *filter) settle(result dynmodule.Result, direction chain.Direction) {
	f.paused[direction] = true
	f.apply(result)
}

func (f *filter) scheduled() {
	f.scheduledEvents++
	if !f.destroyed && !f.finished {
		f.apply(f.module.Scheduled(f.id, nil))
	}
	f.idle <- struct{}{}
}

func (f *filter) apply(result dynmodule.Result) {
	f.id, f.finished = result.ID, f.finished || result.Ended
	for _, answer := range decode(result.Answers) {
		switch response := answer.GetResponse().(type) {
		case *servicev3.ProcessingResponse_RequestHeaders:
			f.pass(chain.Request)
		case *servicev3.ProcessingResponse_ResponseHeaders:
			f.pass(chain.Response)
		case *servicev3.ProcessingResponse_ImmediateResponse:
			f.answered = int(response.ImmediateResponse.GetStatus().GetCode())
			f.finished, f.paused = true, [2]bool{}
		}
	}
	switch {
	case f.answered != 0:
	case result.Failed:
		f.failed, f.paused = true, [2]bool{}
	case result.Ended:
		f.pass(chain.Request)
		f.pass(chain.Response)
	}
}

func (f *filter) pass(direction chain.Direction) {
	if f.paused[direction] {
		f.paused[direction], f.passed[direction] = false, true
	}
}

func (f *filter) destroy() {
	if f.destroyed {
		return
	}
	f.destroyed = true
	if f.id != 0 {
		f.module.Destroy(f.id, true)
	}
	f.id = 0
}

func decode(answers []byte) (all []*servicev3.ProcessingResponse) {
	for len(answers) > 0 {
		length := binary.NativeEndian.Uint32(answers)
		answer := &servicev3.ProcessingResponse{}
		check(proto.Unmarshal(answers[4:4+length], answer))
		all, answers = append(all, answer), answers[4+length:]
	}
	return all
}

// ---------------------------------------------------------------- messages and servers

func requestHead(chainID string) []byte {
	attributes, err := structpb.NewStruct(map[string]any{"xds.route_name": "api|GET /|" + chainID, "source.address": "192.0.2.1:5"})
	check(err)
	return marshal(&servicev3.ProcessingRequest{
		Attributes: map[string]*structpb.Struct{"envoy.filters.http.ext_proc": attributes},
		Request: &servicev3.ProcessingRequest_RequestHeaders{RequestHeaders: &servicev3.HttpHeaders{
			EndOfStream: true, Headers: headers(":method", "GET", ":path", "/x")}},
	})
}

func responseHead(status string) []byte {
	return marshal(&servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseHeaders{
		ResponseHeaders: &servicev3.HttpHeaders{Headers: headers(":status", status)}}})
}

func headers(pairs ...string) *corev3.HeaderMap {
	all := &corev3.HeaderMap{}
	for n := 0; n < len(pairs); n += 2 {
		all.Headers = append(all.Headers, &corev3.HeaderValue{Key: pairs[n], RawValue: []byte(pairs[n+1])})
	}
	return all
}

func marshal(message proto.Message) []byte {
	encoded, err := proto.Marshal(message)
	check(err)
	return encoded
}

// world is a module with its chains: their ids are the names of their policies.
type world struct {
	envoy    *fakeEnvoy
	module   *dynmodule.Module
	counters *exchange.Counters
	turn     chan struct{} // lets one waiting policy go on
}

func newWorld() *world {
	w := &world{envoy: newEnvoy(), turn: make(chan struct{}), counters: exchange.NewCounters(slog.New(slog.DiscardHandler))}
	both := v1alpha.ProcessingModeConfig{RequestHeaderMode: v1alpha.HeaderProcess, RequestBodyMode: v1alpha.BodySkip,
		ResponseHeaderMode: v1alpha.HeaderProcess, ResponseBodyMode: v1alpha.BodySkip}
	request := both
	request.ResponseHeaderMode = v1alpha.HeaderSkip
	table := &chain.Table{}
	put := func(id string, mode v1alpha.ProcessingModeConfig, policies ...v1alpha.Policy) {
		spec := chain.Spec{ID: id, Context: "/", Observer: w.counters}
		for _, policy := range policies {
			spec.Instances = append(spec.Instances, chain.NewInstance(id, id+":v1.0.0", policy, chain.Settings{Mode: mode}))
		}
		c, err := chain.New(spec)
		check(err)
		table.Put(c)
	}
	waits := waiting{turn: w.turn}
	put("passing", both, passing{}, passing{})
	put("passing-request", request, passing{})
	put("panicking", both, panicking{})
	put("answering", both, passing{}, answering{})
	put("waiting", both, blocking{waits}, passing{})
	put("waiting-request", request, blocking{waits})
	put("leaving", both, blocking{leaving{waits}})
	w.module = dynmodule.New(extproc.NewServer(exchange.NewServer(table, nil, w.counters, nil), nil, slog.New(slog.DiscardHandler)), w.envoy, slog.New(slog.DiscardHandler))
	return w
}

// blocking hides the marker of a policy that never blocks.
type blocking struct{ policy v1alpha.Policy }

func (b blocking) OnRequest(ctx context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return b.policy.OnRequest(ctx, r)
}

func (b blocking) OnResponse(ctx context.Context, r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return b.policy.OnResponse(ctx, r)
}
func (b blocking) Close() error { return b.policy.Close() }

// mistakes returns what the module has done that Envoy does not allow, and what it has left behind. No filter is left.
func (w *world) mistakes() error {
	w.module.Wait()
	w.envoy.mu.Lock()
	defer w.envoy.mu.Unlock()
	var errs []error
	for _, text := range w.envoy.mistakes {
		errs = append(errs, errors.New(text))
	}
	if left := len(w.envoy.schedulers); left > 0 {
		errs = append(errs, errors.New("schedulers were left"))
	}
	if left := w.module.Streams(); left > 0 {
		errs = append(errs, errors.New("streams were left"))
	}
	return errors.Join(errs...)
}
