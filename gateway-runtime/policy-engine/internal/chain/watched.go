package chain

import (
	"context"
	"errors"

	"gatewright.dev/sdk/policy/v1alpha"
)

// The calls to an exchange's Watcher. They stand apart from the code that runs the exchange: an exchange without a
// watcher calls none of this, and has no larger stack frame for it.

// turnOf identifies an execution of the step.
func (x *exchange) turnOf(step *step, phase string) Turn {
	index := 0
	for &x.chain.steps[index] != step {
		index++
	}
	return Turn{Index: index, Phase: phase, Policy: step.name}
}

// watchBegin reports the start of a hook's execution, and returns its context.
//
//go:noinline
func (x *exchange) watchBegin(ctx context.Context) context.Context {
	r := &x.running
	return x.watched.ExecutionBegan(ctx, x.turnOf(r.step, r.Phase), x.view(r.Phase == PhaseRequest))
}

// watchEnd reports the end of a hook's execution.
//
//go:noinline
func (x *exchange) watchEnd() {
	r := &x.running
	x.watched.ExecutionEnded(x.turnOf(r.step, r.Phase), r.Execution, x.view(r.Phase == PhaseRequest))
}

// view is the present state of the exchange: in the request phase with the request's body, which may still be on its
// way.
func (x *exchange) view(requestPhase bool) View {
	v := View{
		Method: x.method, Path: x.path, Query: x.query, Authority: x.authority, Upstream: x.upstream,
		RequestHeaders: x.request.headers.view, Metadata: &x.metadata, Analytics: x.analytics,
	}
	if requestPhase {
		v.RequestBody = x.request.bodyView()
	}
	if x.answered || !requestPhase {
		v.HasResponse, v.Answered, v.Status, v.Details = true, x.answered, x.status, x.details
		v.ResponseHeaders, v.ResponseBody = x.response.headers.view, x.response.bodyView()
	}
	return v
}

func (m *message) bodyView() BodyView {
	return BodyView{Pieces: m.body.pieces, Size: m.body.size, Whole: m.ended || m.replaced}
}

// ---------------------------------------------------------------- streams

func (s *stage) turn() Turn {
	return Turn{Index: s.index, Phase: s.execution.Phase, Policy: s.step.name}
}

// watchBegin reports the start of a stream's execution, and makes its context.
func (s *stage) watchBegin(x *exchange) {
	s.watcher, s.metadata = x.watched, &x.metadata
	s.ctx = s.watcher.ExecutionBegan(s.ctx, s.turn(), x.view(s.direction == Request))
}

// watchEnd reports the end of a stream's execution.
func (s *stage) watchEnd() {
	left := View{Metadata: s.metadata}
	s.asking.Lock()
	left.Analytics = s.left
	left.TrailersSeen, left.Trailers = s.trailers.Headers, s.trailerList.view
	s.asking.Unlock()
	if end, ok := errors.AsType[*streamEnd](s.result); ok && end.reject != nil {
		left.HasResponse, left.Answered, left.Status, left.Details = true, true, end.reject.StatusCode, policyAnswer
		left.ResponseHeaders = lowerCase(end.reject.Headers)
		left.ResponseBody = BodyView{Pieces: [][]byte{end.reject.Body}, Size: int64(len(end.reject.Body)), Whole: true}
		left.Analytics = end.reject.AnalyticsMetadata
	}
	s.watcher.ExecutionEnded(s.turn(), s.execution, left)
}

func (s *stage) watchChunk(side Side, chunk []byte) {
	if len(chunk) > 0 {
		s.watcher.StreamChunk(s.turn(), side, chunk)
	}
}

// ---------------------------------------------------------------- messages

// watchedFront is the front end of a watched exchange: it reports messages as they come and as they leave.
type watchedFront struct {
	FrontEnd
	Watcher
	exchange    *exchange
	trailers    [2]headerList // as they came
	hasTrailers [2]bool       // the message has trailers
}

func (f *watchedFront) Response(ctx context.Context) (Head, error) {
	head, err := f.FrontEnd.Response(ctx)
	if err == nil {
		x := f.exchange
		f.MessageHead(Response, Came, View{
			Method: x.method, Path: x.path, Query: x.query, Authority: x.authority, Upstream: x.upstream,
			RequestHeaders: x.request.headers.view, HasResponse: true, Status: head.Status, ResponseHeaders: head.Headers,
			ResponseBody: BodyView{Whole: head.Ended}, Metadata: &x.metadata,
		})
	}
	return head, err
}

func (f *watchedFront) NextPiece(ctx context.Context, direction Direction) ([]byte, error) {
	piece, err := f.FrontEnd.NextPiece(ctx, direction)
	if err == nil {
		f.MessagePiece(direction, Came, piece)
	}
	return piece, err
}

func (f *watchedFront) Trailers(direction Direction) (v1alpha.Headers, error) {
	trailers, err := f.FrontEnd.Trailers(direction)
	if err == nil && trailers != nil {
		f.trailers[direction], f.hasTrailers[direction] = newHeaderList(trailers), true
		f.MessageTrailers(direction, Came, trailers)
	}
	return trailers, err
}

func (f *watchedFront) SendHeaders(direction Direction, changes Changes) error {
	left := f.exchange.view(direction == Request)
	left.Analytics = changes.Analytics
	err := f.FrontEnd.SendHeaders(direction, changes)
	if err == nil {
		f.MessageHead(direction, Left, left.withBody(direction, changes.Body))
	}
	return err
}

// withBody is the view with the body that is sent with the headers; nil: none.
func (v View) withBody(direction Direction, body *[]byte) View {
	sent := BodyView{}
	if body != nil {
		sent = BodyView{Pieces: [][]byte{*body}, Size: int64(len(*body)), Whole: true}
	}
	if direction == Request {
		v.RequestBody = sent
	} else {
		v.ResponseBody = sent
	}
	return v
}

func (f *watchedFront) SendPiece(ctx context.Context, direction Direction, piece []byte) error {
	err := f.FrontEnd.SendPiece(ctx, direction, piece)
	if err == nil && len(piece) > 0 {
		f.MessagePiece(direction, Left, piece)
	}
	return err
}

func (f *watchedFront) SendLast(ctx context.Context, direction Direction, piece []byte, end End) error {
	err := f.FrontEnd.SendLast(ctx, direction, piece, end)
	if err != nil {
		return err
	}
	if len(piece) > 0 {
		f.MessagePiece(direction, Left, piece)
	}
	if f.hasTrailers[direction] {
		f.trailers[direction].apply(end.Trailers)
		f.MessageTrailers(direction, Left, f.trailers[direction].view)
	}
	if len(end.Analytics) > 0 {
		f.MessageAnalytics(direction, end.Analytics)
	}
	return nil
}

func (f *watchedFront) SendRest(ctx context.Context, direction Direction) error {
	f.MessageRest(direction)
	return f.FrontEnd.SendRest(ctx, direction)
}

func (f *watchedFront) Answer(answer Answer) error {
	err := f.FrontEnd.Answer(answer)
	if err == nil {
		left := f.exchange.view(false)
		left.Analytics = answer.Analytics
		f.MessageHead(Response, Left, left.withBody(Response, &answer.Body))
	}
	return err
}
