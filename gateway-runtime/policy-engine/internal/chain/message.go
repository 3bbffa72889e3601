package chain

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// message is one direction's message while it is in the chain: what came, and what the policies made of it.
type message struct {
	front     FrontEnd
	headers   headerList
	delivered bool  // the front end gives the body piece by piece: the chain's mode wants it
	bodiless  bool  // the message came without body and trailers
	declared  int64 // content-length; 0 if there is none
	status    int   // of a response, as it came
	arrived   bool  // at least one piece of the body
	ended     bool  // there is no body left to read
	body      body
	replaced  bool // body is a policy's, not the one that came
	refused   bool // what comes of the body does not fit the budget: no more of it is read
}

func newMessage(front FrontEnd, head Head, delivered bool, budget *Budget) message {
	m := message{front: front, headers: newHeaderList(head.Headers), delivered: delivered, ended: head.Ended, bodiless: head.Ended, status: head.Status}
	m.body.budget = budget
	if delivered && !head.Ended {
		m.declared, _ = strconv.ParseInt(head.Headers.Get("content-length"), 10, 64) // the proxy has checked it
	}
	return m
}

// read takes in the body: all of it, or until it is known to exceed limit bytes or not to fit the budget. A body that a
// policy has replaced is read to its end and dropped.
func (m *message) read(ctx context.Context, limit int64) error {
	for m.delivered && !m.ended && (m.replaced || !m.exceeds(limit) && !m.refusedByBudget()) {
		piece, err := m.front.NextPiece(ctx)
		switch {
		case errors.Is(err, io.EOF):
			m.ended = true
		case err != nil:
			return err
		default:
			m.arrived = true
			m.refused = !m.replaced && !m.body.add(piece, m.declared)
		}
	}
	return nil
}

// refusedByBudget reports whether no more of the body is to be read, for it does not fit the budget. What declares that it
// does not fit is not read at all.
func (m *message) refusedByBudget() bool {
	if !m.arrived && !m.refused {
		m.refused = !m.body.budget.fits(max(m.declared, 1))
	}
	return m.refused
}

// exceeds reports whether the body is known to be more than limit bytes, or more than the budget can ever hold.
func (m *message) exceeds(limit int64) bool {
	if !m.replaced {
		limit = min(limit, m.body.budget.largest())
	}
	return m.body.size > limit || !m.replaced && m.declared > limit
}

// bodyFor is the body as the policy is given it, nil if there is none, or why it is not: the body has a content encoding
// that the policy does not ask for, is too large, or does not fit the budget.
func (m *message) bodyFor(what string, i *Instance) ([]byte, *v1alpha.Failure) {
	if coding := m.encoding(); coding != "" && i.settings.Mode.EncodedBodies != v1alpha.EncodedPass {
		return nil, v1alpha.Failf(v1alpha.ClassBadBody,
			"%s body: expected no content-encoding but identity, got %q; encodedBodies: PASS in the policy's definition gives it as it is", what, coding)
	}
	if m.exceeds(i.settings.MaxBodyBytes) {
		if largest := m.body.budget.largest(); largest < i.settings.MaxBodyBytes {
			return nil, v1alpha.Failf(v1alpha.ClassBodyTooLarge, "%s body: expected at most half of --body-memory, %d, got more", what, largest)
		}
		return nil, v1alpha.Failf(v1alpha.ClassBodyTooLarge, "%s body: expected at most maxBodyBytes, %d, got more", what, i.settings.MaxBodyBytes)
	}
	if !m.refused {
		if whole, ok := m.body.whole(); ok {
			return whole, nil
		}
	}
	return nil, overBudget(what + " body")
}

// overBudget is the failure of a policy for whose body there is no room.
func overBudget(what string) *v1alpha.Failure {
	return v1alpha.Failf(v1alpha.ClassOverloaded, "%s: it does not fit what the bodies held in the engine may take together, --body-memory", what)
}

// identity is the content coding that is none (RFC 9110, 8.4.1 and 12.5.3).
const identity = "identity"

// encoding is the content-encoding of a body that is there, "" if it has none but identity.
func (m *message) encoding() string {
	if !m.exceeds(0) {
		return ""
	}
	for line := range m.headers.view.Values("content-encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			if coding = strings.Trim(coding, " \t"); coding != "" && !strings.EqualFold(coding, identity) {
				return line
			}
		}
	}
	return ""
}

// change applies a policy's changes, or none of them: then the failure says why. A new body has no content encoding but
// the one that comes with it.
func (m *message) change(headers v1alpha.HeaderModifications, body *[]byte) *v1alpha.Failure {
	before := m.headers
	if body != nil && m.headers.view.Has("content-encoding") {
		m.headers.remove("content-encoding")
	}
	if m.headers.apply(headers) {
		if err := m.headers.oversized(); err != nil {
			m.headers = before
			return v1alpha.Failf(v1alpha.ClassBadAction, "%v", err)
		}
	}
	if body == nil {
		return nil
	}
	if !m.body.trySet(*body) {
		m.headers = before
		return overBudget("the policy's body")
	}
	m.replaced = true
	return nil
}

// send lets the message go on. What has come of the body goes with it, changed or not, and the rest as it comes.
func (m *message) send(ctx context.Context, changes Changes) error {
	changes.Headers = m.headers.final()
	if m.replaced {
		if err := m.read(ctx, 0); err != nil {
			return err
		}
	}
	if m.bodiless || !m.delivered || m.replaced && !m.arrived {
		if m.replaced {
			whole, _ := m.body.whole() // it is in one piece
			changes.Body = &whole
		}
		return m.front.SendHeaders(changes)
	}
	changes.Follows = true
	if err := m.front.SendHeaders(changes); err != nil {
		return err
	}
	return m.sendBody()
}

// sendBody sends what is held, and lets the rest pass.
func (m *message) sendBody() error {
	last := len(m.body.pieces) - 1
	for n, piece := range m.body.pieces {
		if err := m.front.SendPiece(piece, m.ended && n == last); err != nil {
			return err
		}
	}
	switch {
	case !m.ended:
		return m.front.SendRest()
	case last < 0:
		return m.front.SendPiece(nil, true)
	}
	return nil
}

// syncContentLength makes content-length that of the body that a policy gave. A chunked message stays chunked.
func (m *message) syncContentLength() {
	if m.replaced && (m.bodiless || m.headers.original.Has("content-length")) {
		m.headers.set("content-length", strconv.FormatInt(m.body.size, 10))
	}
}

// dropBody takes the body from a response that must not have one (RFC 9110, 6.4.1). The content-length of an answer
// to HEAD is that of the body it would have.
func (m *message) dropBody(head bool) {
	if head {
		if m.replaced {
			m.headers.set("content-length", strconv.FormatInt(m.body.size, 10))
		}
		m.body.drop()
		m.replaced = false
		return
	}
	m.body.drop()
	m.replaced = !m.bodiless
	if !m.bodiless {
		m.headers.remove("content-length")
	}
}
