package chain_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// looks is a Watcher that records its calls and reads all arguments: the race detector sees concurrent writes.
type looks struct {
	mutex   sync.Mutex
	notes   []string
	began   map[chain.Turn]int
	ended   map[chain.Turn]int
	context func(context.Context) context.Context // of hooks; nil: as it is

	shadowsBegan []chain.Turn
	shadows      []shadowNote
	shadowEnded  chan struct{} // closed with the next one; nil: no test waits
}

func (l *looks) note(format string, args ...any) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

func (l *looks) count(at *map[chain.Turn]int, turn chain.Turn) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if *at == nil {
		*at = map[chain.Turn]int{}
	}
	(*at)[turn]++
}

func (l *looks) ExecutionBegan(ctx context.Context, turn chain.Turn, seen chain.View) context.Context {
	l.count(&l.began, turn)
	l.note("%d %s %s began: %s", turn.Index, turn.Policy, turn.Phase, viewed(seen))
	if l.context != nil {
		return l.context(ctx)
	}
	return ctx
}

func (l *looks) ExecutionEnded(turn chain.Turn, execution chain.Execution, left chain.View) {
	l.count(&l.ended, turn)
	outcome := ""
	if execution.Failure != nil {
		outcome += " " + string(execution.Failure.Class)
	}
	for is, word := range map[bool]string{execution.Answered: " answered", execution.Continued: " continued", execution.Cancelled: " cancelled"} {
		if is {
			outcome += word
		}
	}
	l.note("%d %s %s ended%s: %s", turn.Index, turn.Policy, turn.Phase, outcome, viewed(left))
}

func (l *looks) ExecutionSkipped(turn chain.Turn, condition string) {
	l.note("%d %s %s skipped: %s", turn.Index, turn.Policy, turn.Phase, condition)
}

func (l *looks) StreamChunk(turn chain.Turn, side chain.Side, chunk []byte) {
	l.note("%d %s %s chunk %s %s", turn.Index, turn.Policy, turn.Phase, sides[side], legible(chunk))
}

func (l *looks) MessageHead(direction chain.Direction, side chain.Side, message chain.View) {
	l.note("%s %s: %s", direction, sides[side], viewed(message))
}

func (l *looks) MessagePiece(direction chain.Direction, side chain.Side, piece []byte) {
	l.note("%s piece %s %s", direction, sides[side], legible(piece))
}

func (l *looks) MessageRest(direction chain.Direction) { l.note("%s rest", direction) }

func (l *looks) MessageTrailers(direction chain.Direction, side chain.Side, trailers v1alpha.Headers) {
	l.note("%s trailers %s [%s]", direction, sides[side], list(trailers))
}

func (l *looks) MessageAnalytics(direction chain.Direction, analytics map[string]any) {
	l.note("%s%s", direction, analyticsOf(analytics))
}

var sides = [...]string{chain.Came: "came", chain.Left: "left"}

// viewed formats the fields of a view that are set.
func viewed(v chain.View) string {
	var parts []string
	if v.Method != "" {
		target := strings.TrimRight(v.Path+"?"+v.Query, "?")
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s%s [%s] %s", v.Method, v.Authority, target, list(v.RequestHeaders), held(v.RequestBody))))
	}
	if v.HasResponse {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d %s[%s] %s", v.Status, strings.TrimLeft(v.Details+" ", " "), list(v.ResponseHeaders), held(v.ResponseBody))))
	}
	if v.TrailersSeen != nil || v.Trailers != nil {
		parts = append(parts, fmt.Sprintf("trailers [%s] then [%s]", list(v.TrailersSeen), list(v.Trailers)))
	}
	if metadata, _ := v.Metadata.JSON(); metadata != nil {
		parts = append(parts, string(metadata))
	}
	for key := range v.Analytics {
		parts = append(parts, "analytics "+key)
	}
	return strings.Join(parts, " | ")
}

func held(body chain.BodyView) string {
	text := ""
	for _, piece := range body.Pieces {
		text += string(piece)
	}
	if int64(len(text)) != body.Size {
		panic(fmt.Sprintf("expected %d bytes, got %q", body.Size, text))
	}
	if text != "" && !body.Whole {
		text += "…"
	}
	return text
}

// expectPairs compares the watcher with the observer: each execution is reported once, at its start and at its end.
func (l *looks) expectPairs(test *testing.T, observer *recorder) {
	test.Helper()
	total := 0
	for turn, began := range l.began {
		total += began
		if began != 1 || l.ended[turn] != 1 {
			test.Errorf("%+v: expected one start and one end, got %d starts and %d ends", turn, began, l.ended[turn])
		}
	}
	if total != observer.began || len(l.ended) != len(l.began) {
		test.Errorf("expected %d executions, got %d that began and %d that ended", observer.began, total, len(l.ended))
	}
}

// expectWatched compares the watcher's record with want, whose lines may be indented.
func (t *transcript) expectWatched(test *testing.T, want string) {
	test.Helper()
	seen := transcript{lines: t.looks.notes}
	seen.expect(test, want)
}

func TestAWatcherSeesWhatEachPolicyChanges(t *testing.T) {
	x := get()
	put := v1alpha.UpstreamRequestModifications{Headers: sets("X-A", "1"), AnalyticsMetadata: map[string]any{"k": 1}}
	method, path := "PUT", "/orders/8"
	put.Method, put.Path = &method, &path
	notes := x.policy(&does{name: "notes", request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return nil, r.Metadata.Set("user", "ann")
	}}, "h")
	changed := &v1alpha.UpstreamResponseModifications{StatusCode: 201, Headers: sets("X-B", "2")}
	if err := x.run(t, notes, x.onRequest("puts", "h", &put, nil), x.onResponse("changes", "H", changed, nil)); err != nil {
		t.Fatal(err)
	}
	x.expectWatched(t, `
		0 notes:v1.0.0 request began: GET example.org/orders/7?a=1 [x-request-id:id-1]
		0 notes:v1.0.0 request ended: GET example.org/orders/7?a=1 [x-request-id:id-1] | {"user":"ann"}
		1 puts:v1.0.0 request began: GET example.org/orders/7?a=1 [x-request-id:id-1] | {"user":"ann"}
		1 puts:v1.0.0 request ended: PUT example.org/orders/8?a=1 [x-request-id:id-1,x-a:1] | {"user":"ann"} | analytics k
		request left: PUT example.org/orders/8?a=1 [x-request-id:id-1,x-a:1] | {"user":"ann"} | analytics k
		response came: PUT example.org/orders/8?a=1 [x-request-id:id-1,x-a:1] | 200 [] | {"user":"ann"}
		2 changes:v1.0.0 response began: PUT example.org/orders/8?a=1 [x-request-id:id-1,x-a:1] | 200 [] | {"user":"ann"}
		2 changes:v1.0.0 response ended: PUT example.org/orders/8?a=1 [x-request-id:id-1,x-a:1] | 201 [x-b:2] | {"user":"ann"}
		response left: PUT example.org/orders/8?a=1 [x-request-id:id-1,x-a:1] | 201 [x-b:2] | {"user":"ann"}`)
}

func TestAWatcherSeesBodies(t *testing.T) {
	x := post("ab", "cd").answers("ef", "gh")
	_ = x.run(t, x.onRequest("new", "b", requestBody("new"), nil), x.onResponse("reads", "B", nil, nil, limit(3), goesOn))
	x.expectWatched(t, `
		request piece came ab
		request piece came cd
		0 new:v1.0.0 request began: POST example.org/orders/7?a=1 [x-request-id:id-1] abcd
		0 new:v1.0.0 request ended: POST example.org/orders/7?a=1 [x-request-id:id-1] new
		request left: POST example.org/orders/7?a=1 [x-request-id:id-1,accept-encoding:identity]
		request piece left new
		response came: POST example.org/orders/7?a=1 [x-request-id:id-1,accept-encoding:identity] | 200 []
		response piece came ef
		response piece came gh
		1 reads:v1.0.0 response began: POST example.org/orders/7?a=1 [x-request-id:id-1,accept-encoding:identity] | 200 [] efgh…
		1 reads:v1.0.0 response ended bodyTooLarge continued: POST example.org/orders/7?a=1 [x-request-id:id-1,accept-encoding:identity] | 200 [] efgh…
		response left: POST example.org/orders/7?a=1 [x-request-id:id-1,accept-encoding:identity] | 200 []
		response piece left ef
		response piece left gh
		response rest`)
	x = get()
	_ = x.run(t, x.onRequest("adds", "h", requestBody("new"), nil))
	x.expectWatched(t, `
		0 adds:v1.0.0 request began: GET example.org/orders/7?a=1 [x-request-id:id-1]
		0 adds:v1.0.0 request ended: GET example.org/orders/7?a=1 [x-request-id:id-1] new
		request left: GET example.org/orders/7?a=1 [x-request-id:id-1,content-length:3] new`)
}

func TestAWatcherSeesAnswersAndFailures(t *testing.T) {
	x := get()
	_ = x.run(t, x.marks("sees", "H"), x.onRequest("denies", "h", refusal(), nil), x.marks("never", "h"))
	x.expectWatched(t, `
		1 denies:v1.0.0 request began: GET example.org/orders/7?a=1 [x-request-id:id-1]
		1 denies:v1.0.0 request ended answered: GET example.org/orders/7?a=1 [x-request-id:id-1] | 401 policy_answer [x-why:key] no
		0 sees:v1.0.0 response began: GET example.org/orders/7?a=1 [x-request-id:id-1] | 401 policy_answer [x-why:key] no
		0 sees:v1.0.0 response ended: GET example.org/orders/7?a=1 [x-request-id:id-1] | 401 policy_answer [x-why:key,x-mark:sees] no
		response left: GET example.org/orders/7?a=1 [x-request-id:id-1] | 401 policy_answer [x-why:key,x-mark:sees] no`)

	x = get()
	x.request.Headers = v1alpha.Headers{{Name: "content-type", Value: "application/grpc"}}
	_ = x.run(t, x.onRequest("passes", "h", nil, errors.New("oh"), goesOn), x.onRequest("fails", "h", nil, errors.New("oh")))
	x.expectWatched(t, `
		0 passes:v1.0.0 request began: GET example.org/orders/7?a=1 [content-type:application/grpc]
		0 passes:v1.0.0 request ended exception continued: GET example.org/orders/7?a=1 [content-type:application/grpc]
		1 fails:v1.0.0 request began: GET example.org/orders/7?a=1 [content-type:application/grpc]
		1 fails:v1.0.0 request ended exception: GET example.org/orders/7?a=1 [content-type:application/grpc] | 500 policy_exception [] A policy of the gateway failed.
		response left: GET example.org/orders/7?a=1 [content-type:application/grpc] | 500 policy_exception [] A policy of the gateway failed.`)
}

func TestAWatcherSeesStreams(t *testing.T) {
	x := post("ab", "cd")
	x.trailers[chain.Request] = v1alpha.Headers{{Name: "x-sum", Value: "1"}}
	changes := func(_ context.Context, _ *transcript, _ string, trailers *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) {
			for chunk, err := range chunks {
				if !yield([]byte(strings.ToUpper(string(chunk))), err) {
					return
				}
			}
			trailers.Set = []v1alpha.Header{{Name: "x-sum", Value: "2"}}
		}
	}
	if err := x.run(t, x.streams("inline", "upper", "s", changes)); err != nil {
		t.Fatal(err)
	}
	x.expectWatched(t, `
		0 upper:v1.0.0 request_stream began: POST example.org/orders/7?a=1 [x-request-id:id-1]
		request piece came ab
		0 upper:v1.0.0 request_stream chunk came ab
		0 upper:v1.0.0 request_stream chunk left AB
		request left: POST example.org/orders/7?a=1 [x-request-id:id-1]
		request piece left AB
		request piece came cd
		0 upper:v1.0.0 request_stream chunk came cd
		0 upper:v1.0.0 request_stream chunk left CD
		request piece left CD
		request trailers came [x-sum:1]
		0 upper:v1.0.0 request_stream ended: trailers [x-sum:1] then [x-sum:2]
		request trailers left [x-sum:2]`)
}

func TestAWatcherSeesTheAnswerOfAStream(t *testing.T) {
	x := post("ab")
	rejects := func(_ context.Context, _ *transcript, _ string, _ *v1alpha.Trailers, _ v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) { yield(nil, &v1alpha.Reject{Response: refusal()}) }
	}
	_ = x.run(t, x.streams("inline", "rejects", "s", rejects))
	x.expectWatched(t, `
		0 rejects:v1.0.0 request_stream began: POST example.org/orders/7?a=1 [x-request-id:id-1]
		0 rejects:v1.0.0 request_stream ended answered: 401 policy_answer [x-why:key] no
		response left: POST example.org/orders/7?a=1 [x-request-id:id-1] | 401 policy_answer [x-why:key] no`)
}

// ---------------------------------------------------------------- contexts

type key struct{}

// carries notes the values of its contexts.
type carries struct{ saw []any }

func (c *carries) OnRequest(ctx context.Context, _ *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	c.saw = append(c.saw, ctx.Value(key{}))
	return nil, nil
}

func (c *carries) OnResponse(ctx context.Context, _ *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	c.saw = append(c.saw, ctx.Value(key{}))
	return nil, nil
}

func (c *carries) OnRequestStream(ctx context.Context, _ *v1alpha.RequestContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	c.saw = append(c.saw, ctx.Value(key{}))
	return chunks
}

func (*carries) Close() error { return nil }

func TestTheContextOfAHookIsTheWatchers(t *testing.T) {
	x, policy := post("ab"), &carries{}
	n := 0
	x.looks.context = func(ctx context.Context) context.Context { n++; return context.WithValue(ctx, key{}, n) }
	instance := chain.NewInstance("c", "c:v1.0.0", policy, chain.Settings{Mode: modes("hsH")})
	if err := x.run(t, instance); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(policy.saw); got != "[1 2 3]" {
		t.Errorf("expected the hook, the stream and the response's hook with contexts of their own, got %s", got)
	}
}

func TestAnExecutionThatIsCancelledEnds(t *testing.T) {
	x := get()
	ctx, cancel := context.WithCancel(t.Context())
	leaves := x.policy(&does{name: "leaves", request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		cancel()
		return nil, nil
	}}, "h")
	if err := x.runWith(ctx, t, leaves); err == nil {
		t.Error("expected an error")
	}
	x.expectWatched(t, `
		0 leaves:v1.0.0 request began: GET example.org/orders/7?a=1 [x-request-id:id-1]
		0 leaves:v1.0.0 request ended cancelled: GET example.org/orders/7?a=1 [x-request-id:id-1]`)
}
