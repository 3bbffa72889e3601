package chain

import (
	"errors"
	"io"
	"slices"
	"strings"

	"gatewright.dev/policy-engine/internal/contentcoding"
	"gatewright.dev/sdk/policy/v1alpha"
)

// A message stays as it came while policies only read it: a policy that reads the body without its content codings gets
// a decoded copy, and headers that fit it. A body that a policy changes goes on without codings; a response's is
// encoded again if the client is to get it encoded.

// refusesEncoded, passesEncoded and decodes are the three ways in which a policy treats an encoded body.
func refusesEncoded(mode v1alpha.ProcessingModeConfig) bool {
	return mode.EncodedBodies == v1alpha.EncodedRefuse
}

func passesEncoded(mode v1alpha.ProcessingModeConfig) bool {
	return mode.EncodedBodies == v1alpha.EncodedPass
}

func decodes(mode v1alpha.ProcessingModeConfig) bool {
	return !refusesEncoded(mode) && !passesEncoded(mode)
}

// decodedFor returns the body decoded for the policy, or the reason that it cannot be.
func (m *message) decodedFor(part string, i *Instance) ([]byte, *v1alpha.Failure) {
	codings, failure := m.codings(part)
	if failure == nil {
		failure = m.bodyRefusal(part, i)
	}
	if failure != nil {
		return nil, failure
	}
	if m.decoded == nil {
		if m.decoded, failure = m.decode(part, codings, i.settings.MaxBodyBytes); failure != nil {
			return nil, failure
		}
	}
	if m.decoded.size > i.settings.MaxBodyBytes {
		return nil, tooLarge(part, i.settings.MaxBodyBytes, m.body.budget.largest())
	}
	if whole, ok := m.decoded.whole(); ok {
		return whole, nil
	}
	return nil, overBudget(part + " body")
}

// codings returns the content codings of the body, or the reason that they cannot be removed.
func (m *message) codings(part string) ([]contentcoding.Coding, *v1alpha.Failure) {
	codings, err := contentcoding.ParseCodings(m.headers.view.Values("content-encoding"))
	if err != nil {
		return nil, v1alpha.Failf(v1alpha.ClassBadBody, "%s body: %v", part, err)
	}
	return codings, nil
}

// decode makes a decoded copy of the body, of at most limit bytes.
func (m *message) decode(part string, codings []contentcoding.Coding, limit int64) (*body, *v1alpha.Failure) {
	pieces := m.body.pieces
	decoder := contentcoding.NewDecoder(codings, func() ([]byte, error) {
		if len(pieces) == 0 {
			return nil, io.EOF
		}
		piece := pieces[0]
		pieces = pieces[1:]
		return piece, nil
	})
	defer decoder.Close()
	decoded, largest := &body{budget: m.body.budget}, m.body.budget.largest()
	for {
		piece, err := decoder.Next()
		var failure *v1alpha.Failure
		switch {
		case err == io.EOF: //nolint:errorlint // it is io.EOF itself
			return decoded, nil
		case err != nil:
			failure = v1alpha.Failf(v1alpha.ClassBadBody, "%s body: %v", part, err)
		case decoded.size+int64(len(piece)) > min(limit, largest):
			failure = tooLarge(part, limit, largest)
		case !decoded.add(piece, 0):
			failure = overBudget(part + " body")
		default:
			continue
		}
		decoded.drop()
		return nil, failure
	}
}

// headersFor returns the headers as the policy sees them: if it gets the body decoded, they describe the decoded body.
func (m *message) headersFor(i *Instance, wantsBody bool) v1alpha.Headers {
	if !wantsBody || !decodes(i.settings.Mode) || m.coding() == "" {
		return m.headers.view
	}
	return slices.DeleteFunc(slices.Clone(m.headers.view), func(header v1alpha.Header) bool {
		return header.Name == "content-encoding" || header.Name == "content-length"
	})
}

// originalCodings returns the codings of the body as it came; none if the body had none, or some that cannot be
// removed.
func (m *message) originalCodings() []contentcoding.Coding {
	if m.bodiless || !m.headers.original.Has("content-encoding") {
		return nil
	}
	codings, err := contentcoding.ParseCodings(m.headers.original.Values("content-encoding"))
	if err != nil {
		return nil
	}
	return codings
}

// changesCoding reports whether a body that came with codings leaves without them, or with others.
func (m *message) changesCoding() bool {
	return (m.replaced || m.stage != nil) && len(m.originalCodings()) > 0 &&
		m.headers.view.Get("content-encoding") != m.headers.original.Get("content-encoding")
}

// byteHeaders describe the exact bytes of a body: digests, and the acceptance of byte ranges.
var byteHeaders = [...]string{"digest", "content-digest", "repr-digest", "content-md5", "accept-ranges"}

// markRecoded adapts the headers to a body with other bytes and the same meaning. Headers that policies have set stay.
func (m *message) markRecoded() {
	for _, name := range byteHeaders {
		if m.headers.view.Has(name) && !m.headers.isTouched(name) {
			m.headers.remove(name)
		}
	}
	if tag := m.headers.view.Get("etag"); tag != "" && !strings.HasPrefix(tag, "W/") && !m.headers.isTouched("etag") {
		m.headers.set("etag", "W/"+tag)
	}
}

// addVary notes that the response's coding depends on the request's accept-encoding (RFC 9110, 12.5.5).
func (m *message) addVary() {
	for line := range m.headers.view.Values("vary") {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.Trim(name, " \t"); name == "*" || strings.EqualFold(name, "accept-encoding") {
				return
			}
		}
	}
	m.headers.apply(v1alpha.HeaderModifications{Append: []v1alpha.Header{{Name: "vary", Value: "accept-encoding"}}})
}

// upstreamAccepts returns the accept-encoding with which the request goes upstream if a policy reads the response.
//
// It is identity, which costs neither side any work, unless the API wants responses encoded or the client accepts no
// other; then it is the codings that the client accepts and the gateway decodes.
func (x *exchange) upstreamAccepts() string {
	accepted := contentcoding.ParseAccepted(x.request.headers.view.Values("accept-encoding"))
	switch {
	case x.refusesEncoded():
		return identity
	case x.chain.spec.EncodedResponses, !accepted.Identity():
		return accepted.Decodable()
	}
	return identity
}

// encodeResponse gives the response a coding that the client accepts, if it came with another.
func (x *exchange) encodeResponse() {
	m := &x.response
	original := m.originalCodings()
	if len(original) == 0 {
		return
	}
	accepted := contentcoding.ParseAccepted(x.head.Headers.Values("accept-encoding"))
	switch {
	case m.changesCoding():
		if !m.headers.view.Has("content-encoding") && x.leavesEncoded(accepted) && accepted.All(original) {
			m.encode(original)
		}
	case !m.replaced && m.decoded != nil && !accepted.All(original) && accepted.Identity() && !m.mayNotBeTransformed():
		m.sendDecoded()
	default:
		return
	}
	m.markRecoded()
	m.addVary()
}

// leavesEncoded reports whether a response that came encoded leaves encoded.
func (x *exchange) leavesEncoded(accepted contentcoding.Accepted) bool {
	return x.chain.spec.EncodedResponses || !accepted.Identity() || x.response.mayNotBeTransformed()
}

// mayNotBeTransformed reports whether the message says no-transform (RFC 9111, 5.2.2.6).
func (m *message) mayNotBeTransformed() bool {
	for line := range m.headers.view.Values("cache-control") {
		for directive := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(directive, " \t"), "no-transform") {
				return true
			}
		}
	}
	return false
}

// encode encodes the body: at once if it is a policy's, otherwise as it leaves.
func (m *message) encode(codings []contentcoding.Coding) {
	m.headers.set("content-encoding", contentcoding.Format(codings))
	encoder := contentcoding.NewEncoder(codings)
	if !m.replaced {
		m.encoder = encoder
		return
	}
	defer encoder.Close()
	whole, _ := m.body.whole() // a policy's body is in one piece
	m.body.set(encoder.Encode(whole, true))
}

// sendDecoded replaces the body by its decoded copy.
func (m *message) sendDecoded() {
	m.body.drop()
	m.body, m.decoded, m.replaced = *m.decoded, nil, true
	m.headers.remove("content-encoding")
}

func tooLarge(part string, limit, largest int64) *v1alpha.Failure {
	if largest < limit {
		return v1alpha.Failf(v1alpha.ClassBodyTooLarge, "%s body: expected at most half of --body-memory, %d, got more", part, largest)
	}
	return v1alpha.Failf(v1alpha.ClassBodyTooLarge, "%s body: expected at most maxBodyBytes, %d, got more", part, limit)
}

// ---------------------------------------------------------------- streams

// decoding removes a body's codings for a policy that streams it.
type decoding struct {
	direction Direction
	decoder   *contentcoding.Decoder
	budget    *Budget
	held      int64 // of the budget, by the decoder
	ended     error
}

// decodingFor returns the decoder of the body for the policy; nil if the body has no codings, or the policy passes them
// on.
func (m *message) decodingFor(s *stage) (*decoding, *v1alpha.Failure) {
	mode, coding := s.step.settings.Mode, m.coding()
	if passesEncoded(mode) {
		return nil, nil
	}
	if m.isPart() {
		return nil, partOfBody(m.direction.String(), m)
	}
	switch {
	case coding == "":
		return nil, nil
	case refusesEncoded(mode):
		return nil, encodedBody(m.direction, coding)
	}
	codings, failure := m.codings(m.direction.String())
	if failure != nil {
		return nil, failure
	}
	return &decoding{direction: m.direction, decoder: contentcoding.NewDecoder(codings, s.piece), budget: m.body.budget}, nil
}

// next waits for the next decoded chunk. If there is none, the error is a *v1alpha.Failure.
func (d *decoding) next() ([]byte, error) {
	if d.ended != nil {
		return nil, d.ended
	}
	chunk, err := d.decoder.Next()
	if decodingErr, ok := errors.AsType[*contentcoding.Error](err); ok {
		err = v1alpha.Failf(v1alpha.ClassBadBody, "%s body: %v", d.direction, decodingErr)
	}
	more := d.decoder.Held() - d.held
	if err == nil && !d.budget.reserve(more) {
		more, err = 0, overBudget(d.direction.String()+" body")
	} else if err != nil {
		more = 0
	}
	d.held += more
	d.ended = err
	return chunk, err
}

func (d *decoding) close() {
	if d == nil || d.decoder == nil {
		return
	}
	d.decoder.Close()
	d.budget.charge(-d.held)
	d.decoder, d.held, d.ended = nil, 0, errStreamOver
}

// undecodable returns the reason that the body could not be decoded; nil if its chunks ended for another reason.
func (s *stage) undecodable() error {
	if failure, ok := errors.AsType[*v1alpha.Failure](s.clock.sourceErr()); ok {
		return failure
	}
	return nil
}

// dropCodings notes that the stage's output has no codings.
func (m *message) dropCodings(s *stage) {
	if s.decoding != nil && m.headers.view.Has("content-encoding") {
		m.headers.remove("content-encoding")
	}
}
