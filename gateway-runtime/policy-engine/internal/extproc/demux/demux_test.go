package demux_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/extproc/demux"
)

// scripts are the table: what goroutines A and B, and the owner, do; behind ": " the decision, with the goroutines that
// wake and the bytes that are kept. Bodies come piece by piece, and nothing has been sent.
var scripts = map[string]string{
	"a goroutine receives, and the other one waits for the end of its turn": `
		pass request: ok
		A wants request piece: receive
		B wants response: wait
		A gets request piece ab: ab, B wakes
		B wants response: receive
		A wants request piece: wait
		B gets response 200: 200, A wakes
		A wants request piece: receive`,
	"a message of the other direction is stored, and its receiver goes on receiving": `
		pass request: ok
		A wants request piece: receive
		B wants response: wait
		A gets response 200: receive, B wakes
		B wants response: 200
		B wants response piece: wait
		A gets response piece abc: receive, B wakes, 3 kept
		B wants response piece: abc
		A gets last response piece d: receive, 1 kept
		A gets last request piece e: e, 1 kept
		B wants response piece: d
		B wants response piece: EOF
		A wants request piece: EOF`,
	"a goroutine that stops waiting leaves its turn to the other one": `
		A wants request piece: receive
		B wants request body: wait
		A leaves: B wakes
		B wants request body: receive
		B gets request piece a: a body, 1 kept
		A wants request piece: a`,
	"a failure ends both directions, after what has come": `
		pass request: ok
		A wants request body: receive
		A gets request piece a: a body, 1 kept
		A wants response: receive, 1 kept
		B wants response: wait, 1 kept
		A fails: it failed, B wakes, 1 kept
		B wants response: it failed, 1 kept
		A wants request piece: a
		A wants request piece: it failed`,
	"a message that may not come is a failure": `
		A wants request piece: receive
		B wants response: wait
		A gets response piece a: ext_proc: expected a message that may come now, got a piece of the response body, B wakes
		B wants response: ext_proc: expected a message that may come now, got a piece of the response body`,
	"two responses are a failure": `
		A wants response: receive
		A gets response 200: 200
		A wants response piece: receive
		A gets response 200: ext_proc: expected one response, got response headers`,
	"a piece behind the end is a failure": `
		A wants request piece: receive
		A gets last request piece a: a
		A wants response: receive
		A gets request piece b: ext_proc: expected nothing more of that body, got a piece of the request body`,
	"trailers end a body": `
		A wants request piece: receive
		A gets request piece a: a
		A wants request piece: receive
		A gets request trailers: EOF
		A wants request body: a body
		end request: by trailers`,
	"a message of headers and trailers has no body": `
		A wants request body: receive
		A gets request trailers: no body
		end request: by trailers`,
	"Envoy's own answer ends the waits for the request, whose pieces are dropped": `
		A wants request body: receive
		A gets request piece ab: a body, 2 kept
		A wants response: receive, 2 kept
		B wants request piece: ab
		B wants request piece: wait
		A gets response 503: 503, B wakes
		B wants request piece: the proxy has answered the request itself
		pass request: refused
		A wants response piece: receive
		A gets request piece c: receive
		A gets last response piece d: d`,
	"a response that comes after the request's headers does not": `
		pass request: ok
		A wants response: receive
		A gets response 200: 200
		A wants request piece: receive
		A gets last request piece a: a`,
	"a body that is ended early is dropped, and no longer kept": `
		pass request: ok
		A wants request body: receive
		A gets request piece ab: a body, 2 kept
		end request: by a piece
		A wants response: receive
		A gets request piece c: receive
		A gets response 200: 200`,
	"the rest goes on: what has come, then what comes": `
		pass request: ok
		A wants response: receive
		A gets request piece a: receive, 1 kept
		A gets response 200: 200, 1 kept
		rest request: a
		rest request: none
		A wants forwarded: receive
		B wants forwarded: wait
		A gets request piece b: forward request
		B wants forwarded: wait
		A is done: receive, B wakes
		A gets last request piece c: forward request, the last
		A is done: ok
		B wants forwarded: ok`,
	"a rest that has come as a whole is not forwarded": `
		A wants request body: receive
		A gets last request piece a: a body, 1 kept
		rest request: last a
		A wants forwarded: ok`,
	"trailers behind a rest are forwarded": `
		pass request: ok
		rest request: none
		A wants forwarded: receive
		A gets request trailers: forward request, the last
		A fails: it failed`,
	"a response for a watcher goes on by itself": `
		pass request, asking: ok
		A wants forwarded: receive
		A gets response 200: pass 200
		B wants forwarded: wait
		A is done: ok, B wakes
		B wants forwarded: ok`,
	"a response for a watcher that cannot go on is a failure": `
		pass request, asking: ok
		A wants forwarded: receive
		A gets response 200: pass 200
		A fails: it failed
		B wants forwarded: it failed`,
	"an answer of the gateway's own does not come back": `
		pass request, asking: ok
		answered: ok
		A wants forwarded: ok`,
}

func TestDecisions(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			p := newPlay(false, [2]bool{true, true})
			lines := bufio.NewScanner(strings.NewReader(script))
			for lines.Scan() {
				line := strings.TrimSpace(lines.Text())
				call, want, found := strings.Cut(line, ": ")
				if !found {
					continue
				}
				if got := p.run(call); got != want {
					t.Fatalf("%s: expected %s, got %s", call, want, got)
				}
			}
		})
	}
}

// TestABodyOfHeadersAloneMayNotCome: the request ended with its headers, and the response's body is not asked for.
func TestABodyOfHeadersAloneMayNotCome(t *testing.T) {
	for _, direction := range []chain.Direction{chain.Request, chain.Response} {
		p := newPlay(true, [2]bool{true, false})
		p.run("A wants response")
		if direction == chain.Response {
			p.run("A gets response 200")
			p.run("A wants response piece")
		}
		if got := p.run("A gets " + direction.String() + " piece a"); !strings.Contains(got, "expected nothing more of that body") {
			t.Errorf("%s: got %s", direction, got)
		}
	}
}

func TestAResponseOfHeadersAloneHasNoBody(t *testing.T) {
	p := newPlay(true, [2]bool{false, true})
	p.run("A wants response")
	p.demux.Received(p.waiters["A"], &demux.Message{Kind: demux.ResponseHeaders, Head: chain.Head{Status: 204, Ended: true}})
	if got := p.run("A wants response piece"); got != "EOF" {
		t.Errorf("expected the end, got %s", got)
	}
}

func TestTrailersAreReturnedAsTheyCame(t *testing.T) {
	d, w := demux.Demux{}, demux.Waiter{Event: demux.Piece}
	d.Open(false, [2]bool{true, true})
	d.Next(&w)
	d.Received(&w, &demux.Message{Kind: demux.RequestTrailers, Trailers: "encoded"})
	if d.Trailers(chain.Request) != "encoded" || d.Trailers(chain.Response) != "" {
		t.Errorf("got %q, %q", d.Trailers(chain.Request), d.Trailers(chain.Response))
	}
}

// ---------------------------------------------------------------- the player of scripts

type play struct {
	demux   demux.Demux
	waiters map[string]*demux.Waiter
	waiting map[string]<-chan struct{}
	message *demux.Message // the last one
}

func newPlay(requestEnded bool, streamed [2]bool) *play {
	p := &play{waiters: map[string]*demux.Waiter{}, waiting: map[string]<-chan struct{}{}}
	p.demux.Open(requestEnded, streamed)
	return p
}

var (
	errFailed  = errors.New("it failed")
	directions = map[string]chain.Direction{"request": chain.Request, "response": chain.Response}
	events     = map[string]demux.Event{"": demux.Response, "piece": demux.Piece, "body": demux.Body}
)

func (p *play) run(call string) string {
	result := p.call(strings.Fields(strings.ReplaceAll(call, ",", "")))
	for _, goroutine := range []string{"A", "B"} {
		select {
		case <-p.waiting[goroutine]:
			delete(p.waiting, goroutine)
			result = strings.TrimPrefix(result+", "+goroutine+" wakes", ", ")
		default:
		}
	}
	if kept := p.demux.Kept(); kept > 0 {
		result += fmt.Sprintf(", %d kept", kept)
	}
	return result
}

func (p *play) call(words []string) string {
	switch words[0] {
	case "pass":
		if p.demux.PassHeaders(directions[words[1]], len(words) > 2) {
			return "refused"
		}
		return "ok"
	case "end":
		if p.demux.EndBody(directions[words[1]]) {
			return "by trailers"
		}
		return "by a piece"
	case "rest":
		piece, last, none := p.demux.NextRest(directions[words[1]])
		return map[bool]string{true: "none"}[none] + map[bool]string{true: "last "}[last] + string(piece)
	case "answered":
		p.demux.Answered()
		return "ok"
	}
	return p.callAs(words[0], words[1], words[2:])
}

func (p *play) callAs(goroutine, verb string, words []string) string {
	w := p.waiters[goroutine]
	switch verb {
	case "wants":
		w = &demux.Waiter{Event: demux.Forwarded}
		if words[0] != "forwarded" {
			w = &demux.Waiter{Event: events[strings.Join(words[1:], " ")], Direction: directions[words[0]]}
		}
		p.waiters[goroutine] = w
		return p.decision(goroutine, p.demux.Next(w))
	case "gets":
		p.message = message(words)
		return p.decision(goroutine, p.demux.Received(w, p.message))
	case "is":
		return p.decision(goroutine, p.demux.Done(w, nil))
	case "fails":
		return p.decision(goroutine, p.demux.Done(w, errFailed))
	}
	p.demux.Leave()
	return ""
}

// message is "request piece TEXT", "last request piece TEXT", "request trailers" or "response STATUS".
func message(words []string) *demux.Message {
	last := words[0] == "last"
	if last {
		words = words[1:]
	}
	response := words[0] == "response"
	switch words[1] {
	case "piece":
		kind := map[bool]demux.Kind{false: demux.RequestBody, true: demux.ResponseBody}[response]
		return &demux.Message{Kind: kind, Piece: []byte(words[2]), Ended: last}
	case "trailers":
		return &demux.Message{Kind: map[bool]demux.Kind{false: demux.RequestTrailers, true: demux.ResponseTrailers}[response]}
	}
	head := chain.Head{}
	_, _ = fmt.Sscan(words[1], &head.Status)
	return &demux.Message{Kind: demux.ResponseHeaders, Head: head}
}

func (p *play) decision(goroutine string, action demux.Action) string {
	w := p.waiters[goroutine]
	switch {
	case action == demux.Receive:
		return "receive"
	case action == demux.Wait:
		p.waiting[goroutine] = w.Changed
		return "wait"
	case action == demux.Forward:
		return "forward " + p.message.Direction().String() + map[bool]string{true: ", the last"}[p.message.Last()]
	case action == demux.PassResponse:
		return fmt.Sprint("pass ", w.Response.Status)
	case errors.Is(w.Err, io.EOF):
		return "EOF"
	case w.Err != nil:
		return w.Err.Error()
	}
	switch w.Event {
	case demux.Response:
		return fmt.Sprint(w.Response.Status)
	case demux.Piece:
		return string(w.Piece)
	case demux.Body:
		return map[bool]string{true: "a body", false: "no body"}[w.HasBody]
	}
	return "ok"
}
