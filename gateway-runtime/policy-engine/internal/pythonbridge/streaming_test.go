package pythonbridge

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestAStreamFromItsBeginningToItsEnd(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
		body := newUpload()
		body.came = v1alpha.Headers{{Name: "x-sum", Value: "1"}}
		r := stream(t, policy, body)
		frame := c.nextFrameUnacknowledged()
		began := frame.GetExecutions()[0]
		if began.GetPhase() != executorv1.Phase_PHASE_REQUEST_STREAM || began.GetTimeoutUs() != 1_000_000 || began.RequestBody != nil ||
			string(began.GetPath()) != "/orders/v1.0/7" || began.GetInstance() == 0 {
			t.Fatalf("the stream began with %v", began)
		}
		synctest.Wait()
		body.wantUntouched(t) // it may still be refused
		c.ack(1)
		body.chunks <- []byte("ab")
		c.wantPiece(began.GetId(), "ab", false)
		c.yield(began.GetId(), "AB")
		r.want("AB")
		body.chunks <- []byte("cd")
		c.wantPiece(began.GetId(), "cd", false)
		if got := statsOf(groups, 0); got.Streams != 1 || got.UnderWay != 1 || got.PiecesSent != 2 || got.BytesSent != 4 ||
			got.PiecesReceived != 1 || got.BytesReceived != 2 {
			t.Fatalf("counted %+v", got)
		}
		close(body.chunks)
		if last := c.wantPiece(began.GetId(), "", true); string(last.GetTrailers()) != "x-sum\x001\x00" {
			t.Fatalf("expected the trailers with the last piece, got %q", last.GetTrailers())
		}
		c.reply(&executorv1.ReplyFrame{
			Pieces: []*executorv1.Piece{{Id: began.GetId(), Data: []byte("CD")}},
			Actions: []*executorv1.Action{{Id: began.GetId(), MetadataSet: []byte(`{"n":4}`), RemoveTrailers: []byte("x-sum\x00"),
				SetTrailers: []byte("x-count\x004\x00"), AnalyticsMetadata: []byte(`{"tokens":4}`)}},
		})
		r.want("CD")
		r.wantEnd()
		if n, _ := r.req.Metadata.Get("n"); n != int64(4) || len(body.trailers.Remove) != 1 || body.trailers.Set[0].Name != "x-count" ||
			r.req.Analytics.Values["tokens"] != 4.0 {
			t.Fatalf("expected metadata, trailers and analytics to be changed, got %v, %+v, %+v", n, body.trailers, r.req.Analytics)
		}
		wantNothingLeft(t, groups, body)
		c.wantNoFrame()
	})
}

func TestAResponseStreamAndItsTimeout(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		slow := metadata
		slow.Timeout = 3 * time.Second
		done := buildAs(groups, slow)
		c.configureOne()
		policy := await.Receive(t, done, "the policy").policy.(v1alpha.ResponseStreamer)
		ctx, body := t.Context(), given("x")
		res := &v1alpha.ResponseContext{Request: request(), StatusCode: 201, Headers: v1alpha.Headers{{Name: "a", Value: "b"}},
			Trailers: body.trailers, Metadata: &v1alpha.ExchangeMetadata{}}
		r := &reader{t: t, pieces: make(chan piece), stop: make(chan struct{})}
		go r.read(policy.OnResponseStream(ctx, res, body.sequence(ctx)))
		began := c.nextFrame().GetExecutions()[0]
		if began.GetPhase() != executorv1.Phase_PHASE_RESPONSE_STREAM || began.GetTimeoutUs() != 3_000_000 || began.GetStatus() != 201 ||
			string(began.GetResponseHeaders()) != "a\x00b\x00" || began.ResponseBody != nil {
			t.Fatalf("the stream began with %v", began)
		}
		if last := c.wantPiece(began.GetId(), "x", true); last.Trailers != nil {
			t.Fatalf("expected no trailers, for the message has none, got %q", last.Trailers)
		}
		c.answer(&executorv1.Action{Id: began.GetId()})
		r.wantEnd()
	})
}

func TestTrailersThatAreEmptyAreThere(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		body := given()
		body.came = v1alpha.Headers{}
		r := stream(t, policy, body)
		id := c.streamBegins()
		if last := c.wantPiece(id, "", true); last.Trailers == nil {
			t.Fatal("expected trailers, empty ones")
		}
		c.answer(&executorv1.Action{Id: id})
		r.wantEnd()
	})
}

func TestAGeneratorMayYieldBeforeItTakesAndMoreThanItTakes(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
		body := newUpload()
		r := stream(t, policy, body)
		id := c.streamBegins()
		c.yield(id, "", "a", "b")
		r.want("") // the message is passed on
		r.want("a")
		r.want("b")
		body.chunks <- []byte("1")
		c.wantPiece(id, "1", false)
		for range 3 {
			c.yield(id, "x", "y")
			r.want("x")
			r.want("y")
		}
		close(body.chunks) // the input ends before the output does
		c.wantPiece(id, "", true)
		c.yield(id, "z")
		r.want("z")
		c.answer(&executorv1.Action{Id: id})
		r.wantEnd()
		wantNothingLeft(t, groups, body)
	})
}

func TestAGeneratorMayEndBeforeItsInput(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
		body := newUpload()
		r := stream(t, policy, body)
		id := c.streamBegins()
		body.chunks <- []byte("1")
		c.wantPiece(id, "1", false)
		c.reply(&executorv1.ReplyFrame{Pieces: []*executorv1.Piece{{Id: id, Data: []byte("x")}}, Actions: []*executorv1.Action{{Id: id}}})
		r.want("x")
		r.wantEnd()
		body.chunks <- []byte("2") // the goroutine that waited for it does not need it any more
		wantNothingLeft(t, groups, body)
		c.wantNoFrame() // an ended stream is neither cancelled nor sent more
		c.yield(id, "late")
		c.reply(&executorv1.ReplyFrame{Credit: []*executorv1.Credit{{Id: id, Bytes: 1 << 30}}})
		synctest.Wait()
		if !statsOf(groups, 0).Connected {
			t.Fatal("expected what still comes for it to be dropped")
		}
	})
}

func TestHowAStreamMayFail(t *testing.T) {
	cases := map[string]struct {
		action *executorv1.Action
		check  func(t *testing.T, err error)
	}{
		"exception": {&executorv1.Action{Failure: &executorv1.Failure{FailureClass: executorv1.FailureClass_FAILURE_CLASS_EXCEPTION}},
			func(t *testing.T, err error) { wantClass(t, err, v1alpha.ClassException) }},
		"timeout": {&executorv1.Action{Failure: &executorv1.Failure{FailureClass: executorv1.FailureClass_FAILURE_CLASS_TIMEOUT}},
			func(t *testing.T, err error) { wantClass(t, err, v1alpha.ClassTimeout) }},
		"overloaded": {&executorv1.Action{Failure: &executorv1.Failure{FailureClass: executorv1.FailureClass_FAILURE_CLASS_OVERLOADED}},
			func(t *testing.T, err error) { wantClass(t, err, v1alpha.ClassOverloaded) }},
		"unavailable": {&executorv1.Action{Failure: &executorv1.Failure{FailureClass: executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE}},
			func(t *testing.T, err error) { wantClass(t, err, v1alpha.ClassUnavailable) }},
		"reject": {&executorv1.Action{ImmediateResponse: &executorv1.ImmediateResponse{StatusCode: 422, Headers: []byte("a\x00b\x00"), Body: []byte("no")},
			MetadataSet: []byte(`{"n":1}`)},
			func(t *testing.T, err error) {
				rejected, ok := errors.AsType[*v1alpha.Reject](err)
				if !ok || rejected.Response.StatusCode != 422 || string(rejected.Response.Body) != "no" || rejected.Response.Headers[0].Name != "a" {
					t.Fatalf("expected a Reject with the answer, got %v", err)
				}
			}},
		"headers":            {&executorv1.Action{SetHeaders: []byte("a\x00b\x00")}, wantBadAction},
		"a body":             {&executorv1.Action{Body: []byte{}}, wantBadAction},
		"a path":             {&executorv1.Action{Path: []byte("/")}, wantBadAction},
		"a status":           {&executorv1.Action{StatusCode: 200}, wantBadAction},
		"malformed set":      {&executorv1.Action{SetTrailers: []byte("a")}, wantBadAction},
		"malformed removal":  {&executorv1.Action{RemoveTrailers: []byte("a")}, wantBadAction},
		"malformed values":   {&executorv1.Action{AnalyticsMetadata: []byte("[]")}, wantBadAction},
		"malformed metadata": {&executorv1.Action{MetadataSet: []byte("[]")}, wantBadAction},
	}
	moments := map[string]func(c *conversation, r *reader, id uint64){
		"at once": func(*conversation, *reader, uint64) {},
		"with input on the way": func(c *conversation, r *reader, id uint64) {
			r.body.chunks <- []byte("1")
			c.wantPiece(id, "1", false)
		},
		"after it has yielded": func(c *conversation, r *reader, id uint64) {
			c.yield(id, "x")
			r.want("x")
		},
		"after its input": func(c *conversation, r *reader, id uint64) {
			close(r.body.chunks)
			c.wantPiece(id, "", true)
		},
	}
	for name := range cases {
		for when, before := range moments {
			t.Run(name+" "+when, func(t *testing.T) {
				withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
					body := newUpload()
					r := stream(t, policy, body)
					id := c.streamBegins()
					synctest.Wait() // it asks for a chunk by now, so that it cannot go to another process
					before(c, r, id)
					test := cases[name]
					test.action.Id = id
					c.answer(test.action)
					test.check(t, r.wantError())
					r.cancel() // the body is no longer needed
					wantNothingLeft(t, groups, body)
					c.wantNoFrame()
				})
			})
		}
	}
}

func wantBadAction(t *testing.T, err error) { wantClass(t, err, v1alpha.ClassBadAction) }

func TestASourceThatFailsCancels(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
		body, broken := newUpload(), errors.New("the client has reset it")
		r := stream(t, policy, body)
		id := c.streamBegins()
		body.chunks <- []byte("1")
		c.wantPiece(id, "1", false)
		body.failure <- broken
		if err := r.wantError(); err != broken { //nolint:errorlint // it must be the same
			t.Fatalf("expected the source's error as it is, got %v", err)
		}
		c.wantCancel(id)
		wantNothingLeft(t, groups, body)
	})
}

func TestTrailersThatCannotBeSentFailTheStream(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
		body := given()
		body.came = v1alpha.Headers{{Name: "a", Value: "\x00"}}
		r := stream(t, policy, body)
		id := c.streamBegins()
		wantClass(t, r.wantError(), v1alpha.ClassBadAction)
		c.wantCancel(id)
		wantNothingLeft(t, groups, body)
	})
}
