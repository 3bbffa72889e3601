// Package requestid is the policy request-id: it gives each request an id, for the upstream and in the client's response.
package requestid

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

type policy struct {
	header  string
	accepts *regexp.Regexp // nil: no client's id is accepted
	makeID  func(req *v1alpha.RequestContext) string
	echo    bool
}

// formats are the functions that make ids, by the names of their formats in the parameters.
var formats = map[string]func(req *v1alpha.RequestContext) string{
	"uuidv7":  func(*v1alpha.RequestContext) string { return uuid(timeOrdered(), 7) },
	"uuidv4":  func(*v1alpha.RequestContext) string { return uuid(random(), 4) },
	"ulid":    func(*v1alpha.RequestContext) string { return ulid(timeOrdered()) },
	"gateway": func(req *v1alpha.RequestContext) string { return req.RequestID },
}

// GetPolicy builds an instance. Parameters: {"header": "x-correlation-id", "accept": "PATTERN", "format": "uuidv7",
// "echo": true}. A pattern that RE2 does not accept is an error.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	parsed := struct {
		Header string `json:"header"`
		Accept string `json:"accept"`
		Format string `json:"format"`
		Echo   bool   `json:"echo"`
	}{Header: "x-correlation-id", Format: "uuidv7", Echo: true}
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	p := &policy{header: parsed.Header, makeID: formats[parsed.Format], echo: parsed.Echo}
	if p.makeID == nil {
		return nil, fmt.Errorf("format: expected uuidv7, uuidv4, ulid or gateway, got %q", parsed.Format)
	}
	if parsed.Accept != "" {
		pattern, err := regexp.Compile("^(?:" + parsed.Accept + ")$")
		if err != nil {
			return nil, fmt.Errorf("accept: expected a regular expression (RE2), got %q: %w", parsed.Accept, err)
		}
		p.accepts = pattern
	}
	return p, nil
}

// OnRequest keeps the client's id if it is accepted, and otherwise sets a new one.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if p.accepts != nil {
		lines, sent := 0, ""
		for value := range req.Headers.Values(p.header) {
			lines++
			sent = value
		}
		if lines == 1 && len(sent) <= maxLength && p.accepts.MatchString(sent) {
			return nil, nil
		}
	}
	set := []v1alpha.Header{{Name: p.header, Value: p.makeID(req)}}
	return &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Set: set}}, nil
}

// maxLength is the largest length in bytes of a client's id, for any pattern.
const maxLength = 256

// OnResponse sets the id that the upstream got in the response.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if !p.echo {
		return nil, nil
	}
	id := res.Request.Headers.Get(p.header)
	if id == "" { // a later policy has removed it
		return nil, nil
	}
	set := []v1alpha.Header{{Name: p.header, Value: id}}
	return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Set: set}}, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}

// ---------------------------------------------------------------- ids

func random() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// timeOrdered returns random bytes that begin with the milliseconds since 1970, in 48 bits, so that ids sort by time.
func timeOrdered() [16]byte {
	id, now := random(), time.Now().UnixMilli()
	for n := range 6 {
		id[n] = byte(now >> (40 - 8*n))
	}
	return id
}

// uuid formats a UUID (RFC 9562, 4 and 5.4, 5.7).
func uuid(id [16]byte, version byte) string {
	id[6] = version<<4 | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// crockford is the alphabet of ULIDs (https://github.com/ulid/spec).
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// ulid formats a ULID: 130 bits in 26 characters, of which the first two bits are 0.
func ulid(id [16]byte) string {
	var shifted [17]byte // two zero bits before it: base 32 begins with the highest
	for n, octet := range id {
		shifted[n] |= octet >> 2
		shifted[n+1] = octet << 6
	}
	return crockford.EncodeToString(shifted[:])[:26]
}
