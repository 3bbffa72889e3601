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
	came      bool  // at least one piece of the body
	ended     bool  // there is no body left to read
	body      []byte
	replaced  bool // body is a policy's, not the one that came
}

func newMessage(front FrontEnd, head Head, delivered bool) message {
	m := message{front: front, headers: newHeaderList(head.Headers), delivered: delivered, ended: head.Ended, bodiless: head.Ended, status: head.Status}
	if delivered && !head.Ended {
		m.declared, _ = strconv.ParseInt(head.Headers.Get("content-length"), 10, 64) // the proxy has checked it
	}
	return m
}

// read takes in the body: all of it, or until it is known to exceed limit bytes. A body that a policy has replaced is
// read to its end and dropped.
func (m *message) read(ctx context.Context, limit int64) error {
	for m.delivered && !m.ended && (m.replaced || !m.exceeds(limit)) {
		piece, err := m.front.NextPiece(ctx)
		switch {
		case errors.Is(err, io.EOF):
			m.ended = true
		case err != nil:
			return err
		default:
			m.keep(piece)
		}
	}
	return nil
}

func (m *message) keep(piece []byte) {
	m.came = true
	if m.replaced {
		return
	}
	if m.body == nil {
		m.body = make([]byte, 0, max(int64(len(piece)), min(m.declared, 1<<20))) // a client may declare what it never sends
	}
	m.body = append(m.body, piece...)
}

// exceeds reports whether the body is known to be more than limit bytes.
func (m *message) exceeds(limit int64) bool {
	return int64(len(m.body)) > limit || !m.replaced && m.declared > limit
}

// unfit is why the policy is not given the body: it has a content encoding that the policy does not ask for, or it is
// too large.
func (m *message) unfit(what string, i *Instance) *v1alpha.Failure {
	if coding := m.encoding(); coding != "" && i.settings.Mode.EncodedBodies != v1alpha.EncodedPass {
		return v1alpha.Failf(v1alpha.ClassBadBody,
			"%s body: expected no content-encoding but identity, got %q; encodedBodies: PASS in the policy's definition gives it as it is", what, coding)
	}
	if m.exceeds(i.settings.MaxBodyBytes) {
		return v1alpha.Failf(v1alpha.ClassBodyTooLarge, "%s body: expected at most maxBodyBytes, %d, got more", what, i.settings.MaxBodyBytes)
	}
	return nil
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

// change applies a policy's changes, or none of them: then the error says why. A new body has no content encoding but
// the one that comes with it.
func (m *message) change(headers v1alpha.HeaderModifications, body *[]byte) error {
	before := m.headers
	if body != nil && m.headers.view.Has("content-encoding") {
		m.headers.remove("content-encoding")
	}
	if m.headers.apply(headers) {
		if err := m.headers.oversized(); err != nil {
			m.headers = before
			return err
		}
	}
	if body != nil {
		m.body, m.replaced = *body, true
	}
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
	if m.bodiless || !m.delivered || m.replaced && !m.came {
		if m.replaced {
			changes.Body = &m.body
		}
		return m.front.SendHeaders(changes)
	}
	changes.Follows = true
	if err := m.front.SendHeaders(changes); err != nil {
		return err
	}
	if m.ended {
		return m.front.SendPiece(m.body, true)
	}
	if len(m.body) > 0 {
		if err := m.front.SendPiece(m.body, false); err != nil {
			return err
		}
	}
	return m.front.SendRest()
}

// fitLength makes content-length that of the body that a policy gave. A chunked message stays chunked.
func (m *message) fitLength() {
	if m.replaced && (m.bodiless || m.headers.original.Has("content-length")) {
		m.headers.set("content-length", strconv.Itoa(len(m.body)))
	}
}

// dropBody takes the body from a response that must not have one (RFC 9110, 6.4.1). The content-length of an answer
// to HEAD is that of the body it would have.
func (m *message) dropBody(head bool) {
	if head {
		if m.replaced {
			m.headers.set("content-length", strconv.Itoa(len(m.body)))
		}
		m.body, m.replaced = nil, false
		return
	}
	m.body, m.replaced = nil, !m.bodiless
	if !m.bodiless {
		m.headers.remove("content-length")
	}
}
