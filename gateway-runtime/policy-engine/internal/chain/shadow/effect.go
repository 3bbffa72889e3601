package shadow

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"slices"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Effect is the part of an exchange's state after an execution that is compared.
type Effect struct {
	Method, Path, Query, Authority, Upstream string
	Request, Response                        Message
	Answered                                 bool // the request
	Status                                   int
	Metadata                                 []byte // JSON
	Analytics                                map[string]any
}

// Message is a message after an execution.
type Message struct {
	headers v1alpha.Headers
	newBody bool // the execution has replaced the body
	body    digest
}

// digest identifies the content of a body.
type digest struct {
	size int
	sum  uint64
}

// NewMessage is a message with these headers, and with the body if the execution has replaced it.
func NewMessage(headers v1alpha.Headers, newBody bool, body [][]byte) Message {
	m := Message{headers: headers, newBody: newBody}
	if newBody {
		m.body = digestOf(body)
	}
	return m
}

var seed = maphash.MakeSeed()

func digestOf(pieces [][]byte) digest {
	var hash maphash.Hash
	hash.SetSeed(seed)
	size := 0
	for _, piece := range pieces {
		size += len(piece)
		_, _ = hash.Write(piece)
	}
	return digest{size, hash.Sum64()}
}

// same reports whether both effects are equal, for an exchange whose body, as far as it is known, has these pieces.
func (e *Effect) same(other *Effect, body [][]byte) bool {
	return e.Method == other.Method && e.Path == other.Path && e.Query == other.Query && e.Authority == other.Authority &&
		e.Upstream == other.Upstream && e.Answered == other.Answered && e.Status == other.Status &&
		e.Request.same(&other.Request, body) && e.Response.same(&other.Response, body) &&
		bytes.Equal(e.Metadata, other.Metadata) && sameAnalytics(e.Analytics, other.Analytics)
}

func (m *Message) same(other *Message, body [][]byte) bool {
	if !sameHeaders(m.headers, other.headers) {
		return false
	}
	if !m.newBody && !other.newBody {
		return true
	}
	return m.bodyOr(body) == other.bodyOr(body)
}

// bodyOr is the message's new body, or the one that it had.
func (m *Message) bodyOr(body [][]byte) digest {
	if m.newBody {
		return m.body
	}
	return digestOf(body)
}

// sameHeaders reports whether both lists have the same values for each name, regardless of the order of names.
func sameHeaders(a, b v1alpha.Headers) bool {
	if len(a) != len(b) {
		return false
	}
	if slices.Equal(a, b) {
		return true
	}
	for n := range a {
		if !slices.Equal(slices.Collect(a.Values(a[n].Name)), slices.Collect(b.Values(a[n].Name))) {
			return false
		}
	}
	return true
}

// sameAnalytics compares the analytics as JSON.
func sameAnalytics(a, b map[string]any) bool {
	if len(a) == 0 && len(b) == 0 {
		return true
	}
	text, err := json.Marshal(a)
	otherText, otherErr := json.Marshal(b)
	return err == nil && otherErr == nil && bytes.Equal(text, otherText)
}
