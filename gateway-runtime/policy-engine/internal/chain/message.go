package chain

import (
	"context"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"gatewright.dev/policy-engine/internal/contentcoding"
	"gatewright.dev/sdk/policy/v1alpha"
)

// message is one direction's message in the chain: as it came, and with the policies' changes.
type message struct {
	front     FrontEnd
	observer  ExchangeObserver
	direction Direction
	stage     *stage // the last policy that streams the body, from which the unread rest comes; nil: from the front end
	headers   headerList
	delivered bool  // the front end delivers the body piece by piece, since the chain's mode includes it
	bodiless  bool  // the message came without body and trailers
	hasBody   bool  // it came with a body, or a policy gave it one
	declared  int64 // content-length; 0: none
	status    int   // of a response, as it came
	arrived   bool  // at least one piece of the body
	ended     bool  // there is no body left to read
	body      body
	decoded   *body                  // a copy of body without its content codings, once a policy has read one
	encoder   *contentcoding.Encoder // encodes the body as it leaves; nil: it is not encoded
	replaced  bool                   // body is a policy's, not the one that came
	refused   bool                   // the body does not fit the budget: no more of it is read

	readLimit time.Duration // the time limit of a read of the body; 0: none
}

func newMessage(front FrontEnd, direction Direction, head Head, delivered bool, c *Chain) message {
	m := message{front: front, direction: direction, headers: newHeaderList(head.Headers), delivered: delivered, ended: head.Ended, bodiless: head.Ended, hasBody: !head.Ended, status: head.Status}
	m.body.budget, m.observer = c.spec.Bodies, c.exchanges
	if delivered && !head.Ended {
		m.declared, _ = strconv.ParseInt(head.Headers.Get("content-length"), 10, 64) // the proxy has checked it
	}
	return m
}

// read reads the whole body, or until it is known to exceed limit bytes or not to fit the budget. A body that a policy
// has replaced is read to its end and dropped. errUnfinished: the read has taken longer than m.within.
func (m *message) read(ctx context.Context, limit int64) error {
	if m.readLimit > 0 && m.delivered && !m.ended {
		bounded, done := m.readContext(ctx)
		defer done()
		ctx = bounded
	}
	for m.delivered && !m.ended && (m.replaced || !m.exceeds(limit) && !m.refusedByBudget()) {
		piece, err := m.next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			m.ended = true
		case err != nil:
			return err
		default:
			m.arrived = m.arrived || m.stage == nil
			m.refused = !m.replaced && !m.body.add(piece, m.declared)
		}
	}
	return nil
}

// next waits for the next piece of the unread body.
func (m *message) next(ctx context.Context) ([]byte, error) {
	if m.stage != nil {
		return m.stage.next()
	}
	piece, err := m.front.NextPiece(ctx, m.direction)
	if err == nil {
		m.observer.Add(BodyBytes[m.direction], uint64(len(piece)))
	}
	return piece, err
}

// refusedByBudget reports whether no more of the body is to be read, because it does not fit the budget. A body whose
// declared length does not fit is not read at all.
func (m *message) refusedByBudget() bool {
	if !m.arrived && !m.refused {
		m.refused = !m.body.budget.fits(max(m.declared, 1))
	}
	return m.refused
}

// exceeds reports whether the body is known to be larger than limit bytes, or larger than the budget can ever hold.
func (m *message) exceeds(limit int64) bool {
	if !m.replaced {
		limit = min(limit, m.body.budget.largest())
	}
	return m.body.size > limit || !m.replaced && m.declared > limit
}

// bodyFor returns the body as the policy gets it, nil if there is none; or the reason that it cannot get it: the body
// is a range, has a content encoding that the policy refuses or that cannot be decoded, is too large, or does not fit
// the budget.
func (m *message) bodyFor(part string, i *Instance) ([]byte, *v1alpha.Failure) {
	if m.isPart() && m.exceeds(0) && !passesEncoded(i.settings.Mode) {
		return nil, partOfBody(part, m)
	}
	if coding := m.encoding(); coding != "" && !passesEncoded(i.settings.Mode) {
		if refusesEncoded(i.settings.Mode) {
			return nil, encodedBody(m.direction, coding)
		}
		return m.decodedFor(part, i)
	}
	if failure := m.bodyRefusal(part, i); failure != nil {
		return nil, failure
	}
	if whole, ok := m.body.whole(); ok {
		return whole, nil
	}
	return nil, overBudget(part + " body")
}

// encodedBody is the failure of a policy that refuses bodies with a content encoding.
func encodedBody(direction Direction, coding string) *v1alpha.Failure {
	return v1alpha.Failf(v1alpha.ClassBadBody,
		"%s body: expected no content-encoding but identity, got %q; encodedBodies: DECODE in the policy's definition gives it decoded", direction, coding)
}

// bodyRefusal returns the reason that the policy cannot get the body as it came: it is too large, or does not fit the
// budget.
func (m *message) bodyRefusal(part string, i *Instance) *v1alpha.Failure {
	if m.exceeds(i.settings.MaxBodyBytes) {
		return tooLarge(part, i.settings.MaxBodyBytes, m.body.budget.largest())
	}
	if m.refused {
		return overBudget(part + " body")
	}
	return nil
}

// overBudget is the failure of a policy whose body does not fit the budget.
func overBudget(subject string) *v1alpha.Failure {
	return v1alpha.Failf(v1alpha.ClassOverloaded, "%s: there is no room for it in --body-memory, the limit for all bodies held in the engine", subject)
}

// identity is the content coding that leaves a body as it is (RFC 9110, 8.4.1 and 12.5.3).
const identity = "identity"

// encoding is the content-encoding of the body; "" if it has none, or there is no body.
func (m *message) encoding() string {
	if !m.exceeds(0) {
		return ""
	}
	return m.coding()
}

// coding is the content-encoding in the headers, "" for none or identity. A message that ended with its headers has
// none.
func (m *message) coding() string {
	if m.bodiless && m.body.size == 0 {
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

// change applies all of a policy's changes, or none of them and returns the failure. A new body has no content
// encoding, unless the changes set one.
func (m *message) change(headers v1alpha.HeaderModifications, body *[]byte) *v1alpha.Failure {
	before := m.headers
	if body != nil && m.headers.view.Has("content-encoding") {
		m.headers.remove("content-encoding")
	}
	if m.headers.apply(headers) {
		if err := m.headers.checkSize(); err != nil {
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
	m.dropDecoded()
	m.replaced, m.hasBody = true, len(*body) > 0
	return nil
}

// settle reads a body that a policy has replaced to its end, and drops it. The output of streams of a message that has
// only headers and trailers is collected, since it goes with the headers.
func (m *message) settle(ctx context.Context) error {
	if m.replaced {
		return m.read(ctx, 0)
	}
	if m.stage == nil || m.ended || !m.stage.hasOutput() || m.hasArrived() {
		return nil
	}
	if has, err := m.front.HasBody(ctx, m.direction); has || err != nil {
		return err
	}
	if err := m.read(ctx, math.MaxInt64); err != nil {
		return err
	}
	if !m.ended {
		return m.stage.fail(overBudget("the policy's body"))
	}
	m.replaced = m.body.size > 0
	m.hasBody = m.replaced
	return nil
}

// send lets the message, which is settled, go on: the part of the body that has come, changed or not, and the rest as
// it comes.
func (m *message) send(ctx context.Context, changes Changes) error {
	if err := m.sendHeaders(&changes); err != nil || !changes.Follows {
		return err
	}
	return m.sendBody(ctx)
}

// sendHeaders sends the headers with the changes, and with a body that cannot follow them.
func (m *message) sendHeaders(changes *Changes) error {
	changes.Headers = m.headers.minimalChanges()
	if m.bodiless || !m.delivered || m.replaced && !m.hasArrived() {
		if m.replaced {
			whole, _ := m.body.whole() // a replaced body is in one piece
			changes.Body = &whole
		}
	} else {
		changes.Follows = true
	}
	if !changes.Follows && m.stage != nil {
		changes.Analytics = merge(changes.Analytics, m.stage.takeAnalytics())
	}
	return m.front.SendHeaders(m.direction, *changes)
}

// hasArrived reports whether the front end has delivered at least one piece.
func (m *message) hasArrived() bool { return m.arrived || m.stage != nil && m.stage.hasArrived() }

// sendBody sends the held body, and lets the rest pass.
func (m *message) sendBody(ctx context.Context) error {
	if m.stage != nil {
		return m.sendStream(ctx)
	}
	last := len(m.body.pieces) - 1
	for n, piece := range m.body.pieces {
		if m.ended && n == last {
			return m.front.SendLast(ctx, m.direction, piece, End{})
		}
		if err := m.front.SendPiece(ctx, m.direction, piece); err != nil {
			return err
		}
	}
	if !m.ended {
		return m.front.SendRest(ctx, m.direction)
	}
	return m.front.SendLast(ctx, m.direction, nil, End{})
}

// sendStream sends the held body, and the output of the policies that stream it.
func (m *message) sendStream(ctx context.Context) error {
	if m.encoder != nil {
		defer m.encoder.Close()
	}
	for piece, ok := m.body.shift(); ok; piece, ok = m.body.shift() {
		if err := m.sendChunk(ctx, piece); err != nil {
			return err
		}
	}
	for !m.ended {
		piece, err := m.stage.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = m.sendChunk(ctx, piece)
		}
		if err != nil {
			return err
		}
	}
	var last []byte
	if m.encoder != nil {
		last = m.encoder.Encode(nil, true)
	}
	return m.front.SendLast(ctx, m.direction, last, End{m.stage.finalTrailers(), m.stage.takeAnalytics()})
}

func (m *message) sendChunk(ctx context.Context, piece []byte) error {
	if m.encoder != nil {
		piece = m.encoder.Encode(piece, false)
	}
	err := m.front.SendPiece(ctx, m.direction, piece)
	if errors.Is(err, ErrNoBody) {
		return m.stage.fail(v1alpha.Failf(v1alpha.ClassBadAction, "stream: %v", err))
	}
	return err
}

// dropAll gives back the memory of all bodies.
func (m *message) dropAll() {
	m.body.drop()
	m.dropDecoded()
}

func (m *message) dropDecoded() {
	if m.decoded != nil {
		m.decoded.drop()
		m.decoded = nil
	}
}

// syncContentLength sets content-length to the length of a policy's body. A chunked message stays chunked.
func (m *message) syncContentLength() {
	if m.replaced && (m.bodiless || m.headers.original.Has("content-length")) {
		m.headers.set("content-length", strconv.FormatInt(m.body.size, 10))
	}
}

// dropBody removes the body from a response that must not have one (RFC 9110, 6.4.1). The content-length of an answer
// to HEAD is the length that the body would have.
func (m *message) dropBody(head bool) {
	if head {
		if m.replaced {
			m.headers.set("content-length", strconv.FormatInt(m.body.size, 10))
		}
		m.dropAll()
		m.replaced = false
		return
	}
	m.dropAll()
	if m.stage != nil {
		m.stage.close()
		m.arrived, m.stage = m.hasArrived(), nil
	}
	m.replaced = !m.bodiless
	if !m.bodiless {
		m.headers.remove("content-length")
	}
}
