package chain_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// transcript records an exchange, one line for each call of the front end and each hook. It is also the front end, and
// makes the policies.
type transcript struct {
	mutex sync.Mutex // guards lines: directions may run at once
	lines []string

	identities []string      // subjects that were sent
	more       chan struct{} // closed with the next line

	request        chain.Head
	pieces         []string // of the request's body
	response       chain.Head
	responsePieces []string
	encodes        bool          // chain.Spec.EncodedResponses
	respondsAfter  int           // the proxy answers by itself after so many pieces of the request's body; 0: it does not
	broken         bool          // sending fails
	limit          time.Duration // Spec.RequestLimit

	read     [2]int
	trailers [2]v1alpha.Headers
	gone     chan struct{}                                // closed when the request has gone; nil: no caller waits
	waits    func(ctx context.Context, what string) error // called before an answer: "response", "request 1", …; nil: nothing waits

	went     [2]string // the headers and body that have been sent
	copyRest [2]func(piece []byte)
	shadows  *chain.Shadows // Spec.Shadows
	bodies   *chain.Budget  // Spec.Bodies

	observer recorder
	looks    looks
}

func (t *transcript) say(format string, args ...any) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
	if t.more != nil {
		close(t.more)
		t.more = nil
	}
}

// until waits for a line.
func (t *transcript) until(ctx context.Context, line string) error {
	for {
		t.mutex.Lock()
		seen := slices.Contains(t.lines, line)
		if t.more == nil {
			t.more = make(chan struct{})
		}
		more := t.more
		t.mutex.Unlock()
		if seen {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// expect compares the transcript with want, whose lines may be indented.
func (t *transcript) expect(test *testing.T, want string) {
	test.Helper()
	var lines []string
	for line := range strings.Lines(want) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if !slices.Equal(lines, t.lines) {
		test.Errorf("expected:\n  %s\ngot:\n  %s", strings.Join(lines, "\n  "), strings.Join(t.lines, "\n  "))
	}
}

// post is a request with a body that comes in pieces; get has no body.
func post(pieces ...string) *transcript {
	t := get()
	t.request.Method, t.request.Ended, t.pieces = "POST", false, pieces
	return t
}

func get() *transcript {
	return &transcript{
		request: chain.Head{
			Method: "GET", Scheme: "http", Authority: "example.org", Path: "/orders/7?a=1", ClientAddress: "192.0.2.1:5",
			RequestID: "id-1", Headers: v1alpha.Headers{{Name: "x-request-id", Value: "id-1"}}, Ended: true,
		},
		response: chain.Head{Status: 200, Ended: true},
	}
}

// answers gives the upstream's response a body.
func (t *transcript) answers(pieces ...string) *transcript {
	t.response.Ended, t.responsePieces = false, pieces
	return t
}

// run runs the exchange through a chain of instances.
func (t *transcript) run(test *testing.T, instances ...*chain.Instance) error {
	test.Helper()
	return t.runWith(test.Context(), test, instances...)
}

func (t *transcript) runWith(ctx context.Context, test *testing.T, instances ...*chain.Instance) error {
	test.Helper()
	c, err := chain.New(chain.Spec{
		ID: "c1", API: "orders", APIVersion: "v1", Context: "/orders", Operation: "GET /{id}", Upstreams: []string{"canary", "main"}, Instances: instances, Observer: &t.observer,
		EncodedResponses: t.encodes, RequestLimit: t.limit, Shadows: t.shadows, Bodies: t.bodies, StrictPaths: true,
	})
	if err != nil {
		test.Fatal(err)
	}
	defer t.looks.expectPairs(test, &t.observer)
	running, end := context.WithCancel(ctx)
	defer end()
	return c.Run(running, t, &t.looks, nil)
}

// ---------------------------------------------------------------- chain.FrontEnd

func (t *transcript) Request() chain.Head { return t.request }

func (t *transcript) Response(ctx context.Context) (chain.Head, error) {
	if err := t.wait(ctx, "response"); err != nil {
		return chain.Head{}, err
	}
	t.say("wait for the response")
	return t.response, nil
}

func (t *transcript) wait(ctx context.Context, what string) error {
	if t.waits == nil {
		return nil
	}
	return t.waits(ctx, what)
}

func (t *transcript) NextPiece(ctx context.Context, direction chain.Direction) ([]byte, error) {
	if err := t.wait(ctx, fmt.Sprintf("%s %d", direction, t.read[direction])); err != nil {
		return nil, err
	}
	pieces, read := t.pieces, &t.read[direction]
	if direction == chain.Response {
		pieces = t.responsePieces
	} else if t.respondsAfter > 0 && *read == t.respondsAfter {
		return nil, chain.ErrResponded
	}
	if *read == len(pieces) {
		return nil, io.EOF
	}
	*read++
	t.say("read %s", legible([]byte(pieces[*read-1])))
	return []byte(pieces[*read-1]), nil
}

func (t *transcript) HasBody(_ context.Context, direction chain.Direction) (bool, error) {
	return len([...][]string{t.pieces, t.responsePieces}[direction]) > 0, nil
}

func (t *transcript) Trailers(direction chain.Direction) (v1alpha.Headers, error) {
	return t.trailers[direction], nil
}

func (t *transcript) SendHeaders(direction chain.Direction, c chain.Changes) error {
	line := []string{"send " + direction.String()}
	t.identified(c.Identity)
	for _, part := range []struct{ name, value string }{
		{"method", c.Method}, {"path", c.Path}, {"authority", c.Authority}, {"upstream", c.Upstream}, {"status", number(c.Status)},
		{"remove", strings.Join(c.Headers.Remove, ",")}, {"set", list(c.Headers.Set)}, {"append", list(c.Headers.Append)},
	} {
		if part.value != "" {
			line = append(line, part.name+"="+part.value)
		}
	}
	t.went[direction] = strings.Join(line, " ") + " body "
	if c.Body != nil {
		line = append(line, "body="+string(*c.Body))
		t.went[direction] += string(*c.Body)
	} else if !c.Follows {
		t.went[direction] += strings.Join([...][]string{t.pieces, t.responsePieces}[direction], "")
	}
	if c.Follows {
		line = append(line, "body follows")
	}
	t.say("%s%s", strings.Join(line, " "), analyticsOf(c.Analytics))
	if direction == chain.Request && t.gone != nil && !c.Follows {
		close(t.gone)
	}
	if t.broken {
		return io.ErrClosedPipe
	}
	return nil
}

func (t *transcript) SendPiece(_ context.Context, direction chain.Direction, piece []byte) error {
	t.went[direction] += string(piece)
	t.say("send part %s", legible(piece))
	return nil
}

func (t *transcript) SendLast(_ context.Context, direction chain.Direction, piece []byte, end chain.End) error {
	t.went[direction] += string(piece)
	line := strings.TrimSpace("send all of " + legible(piece))
	for _, part := range []struct{ name, value string }{{"remove", strings.Join(end.Trailers.Remove, ",")}, {"set", list(end.Trailers.Set)}, {"append", list(end.Trailers.Append)}} {
		if part.value != "" {
			line += " trailers " + part.name + "=" + part.value
		}
	}
	t.say("%s%s", line, analyticsOf(end.Analytics))
	if direction == chain.Request && t.gone != nil {
		close(t.gone)
	}
	return nil
}

func (t *transcript) SendRest(_ context.Context, direction chain.Direction) error {
	t.say("send the rest")
	t.went[direction] += strings.Join([...][]string{t.pieces, t.responsePieces}[direction][t.read[direction]:], "")
	if to := t.copyRest[direction]; to != nil {
		for _, piece := range [...][]string{t.pieces, t.responsePieces}[direction][t.read[direction]:] {
			to([]byte(piece))
		}
		to(nil)
	}
	if direction == chain.Request && t.gone != nil {
		close(t.gone)
	}
	return nil
}

func (t *transcript) CopyRest(direction chain.Direction, to func(piece []byte)) {
	t.copyRest[direction] = to
}

func (t *transcript) Finish(context.Context) error { return nil }

func (t *transcript) identified(identity *chain.Identity) {
	if identity != nil {
		sent := identity.Subject
		if identity.WithConsumer {
			sent += fmt.Sprintf(" as %s with %s", identity.Consumer, identity.Plan)
		}
		t.identities = append(t.identities, sent)
	}
}

func (t *transcript) Answer(a chain.Answer) error {
	t.identified(a.Identity)
	line := fmt.Sprintf("answer %d %s", a.Status, cmp.Or(a.Details, "-"))
	if a.GRPCStatus != 0 {
		line += fmt.Sprintf(" grpc-status=%d", a.GRPCStatus)
	}
	t.went[chain.Response] = strings.TrimSpace(fmt.Sprintf("%s [%s] %s", line, list(a.Headers), a.Body))
	t.say("%s%s", t.went[chain.Response], analyticsOf(a.Analytics))
	return nil
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func list(headers []v1alpha.Header) string {
	lines := make([]string, len(headers))
	for n, header := range headers {
		lines[n] = header.Name + ":" + header.Value
	}
	return strings.Join(lines, ",")
}

// ---------------------------------------------------------------- policies

// does is a policy that notes its calls. Hooks that are nil do nothing.
type does struct {
	t        *transcript
	name     string
	request  func(*v1alpha.RequestContext) (v1alpha.RequestAction, error)
	response func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error)
}

func (d *does) OnRequest(_ context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	d.t.say("%s: request%s%s", d.name, mark(r.Headers), shown(r.Body))
	if d.request == nil {
		return nil, nil
	}
	return d.request(r)
}

func (d *does) OnResponse(_ context.Context, r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	d.t.say("%s: response %d%s%s", d.name, r.StatusCode, mark(r.Headers), shown(r.Body))
	if d.response == nil {
		return nil, nil
	}
	return d.response(r)
}
func (*does) Close() error { return nil }
func (*does) NeverBlocks() {}

// mark shows the headers x-mark, which policies leave.
func mark(headers v1alpha.Headers) string {
	marks := slices.Collect(headers.Values("x-mark"))
	if len(marks) == 0 {
		return ""
	}
	return " marked " + strings.Join(marks, "+")
}

func shown(body []byte) string {
	if body == nil {
		return ""
	}
	return " body " + legible(body)
}

// modes parses a policy's modes: h and H the headers, b and B the whole body, s and S the body as a stream, of request
// and response.
func modes(letters string) v1alpha.ProcessingModeConfig {
	var m v1alpha.ProcessingModeConfig
	for _, letter := range letters {
		switch letter {
		case 'h':
			m.RequestHeaderMode = v1alpha.HeaderProcess
		case 'b':
			m.RequestBodyMode = v1alpha.BodyBuffer
		case 'H':
			m.ResponseHeaderMode = v1alpha.HeaderProcess
		case 'B':
			m.ResponseBodyMode = v1alpha.BodyBuffer
		case 's':
			m.RequestBodyMode = v1alpha.BodyStream
		case 'S':
			m.ResponseBodyMode = v1alpha.BodyStream
		}
	}
	return m
}

// marks is a policy that leaves its name in x-mark, in both directions.
func (t *transcript) marks(name, letters string, settings ...func(*chain.Settings)) *chain.Instance {
	return t.policy(&does{
		name: name,
		request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{Headers: appends("X-Mark", name)}, nil
		},
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			return &v1alpha.UpstreamResponseModifications{Headers: appends("X-Mark", name)}, nil
		},
	}, letters, settings...)
}

func (t *transcript) policy(d *does, letters string, settings ...func(*chain.Settings)) *chain.Instance {
	d.t = t
	s := chain.Settings{Mode: modes(letters)}
	for _, set := range settings {
		set(&s)
	}
	return chain.NewInstance(d.name, d.name+":v1.0.0", d, s)
}

// onRequest and onResponse are policies that return the given action or error.
func (t *transcript) onRequest(name, letters string, action v1alpha.RequestAction, err error, settings ...func(*chain.Settings)) *chain.Instance {
	return t.policy(&does{name: name, request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { return action, err }}, letters, settings...)
}

func (t *transcript) onResponse(name, letters string, action v1alpha.ResponseAction, err error, settings ...func(*chain.Settings)) *chain.Instance {
	return t.policy(&does{name: name, response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return action, err }}, letters, settings...)
}

func appends(name, value string) v1alpha.HeaderModifications {
	return v1alpha.HeaderModifications{Append: []v1alpha.Header{{Name: name, Value: value}}}
}

func sets(name, value string) v1alpha.HeaderModifications {
	return v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: name, Value: value}}}
}

func requestBody(text string) *v1alpha.UpstreamRequestModifications {
	body := []byte(text)
	return &v1alpha.UpstreamRequestModifications{Body: &body}
}

func responseBody(text string) *v1alpha.UpstreamResponseModifications {
	body := []byte(text)
	return &v1alpha.UpstreamResponseModifications{Body: &body}
}

func limit(bytes int64) func(*chain.Settings) {
	return func(s *chain.Settings) { s.MaxBodyBytes = bytes }
}

func goesOn(s *chain.Settings) { s.OnError.Default = chain.Continue }
