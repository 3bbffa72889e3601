package chain

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"maps"
	"slices"

	"gatewright.dev/sdk/policy/v1alpha"
)

// effect is the part of an exchange's state after an execution that is compared.
type effect struct {
	method, path, query, authority, upstream string
	request, response                        madeMessage
	answered                                 bool // the request
	status                                   int
	metadata                                 []byte // JSON
	analytics                                map[string]any
}

// madeMessage is a message after an execution.
type madeMessage struct {
	headers v1alpha.Headers
	newBody bool // the execution has replaced the body; size and sum describe it
	size    int64
	sum     uint64
}

var shadowSeed = maphash.MakeSeed()

// effect returns the state of the exchange after the present execution.
func (x *exchange) effect(phase string) effect {
	e := effect{method: x.method, path: x.path, query: x.query, authority: x.authority, upstream: x.upstream, analytics: maps.Clone(x.analytics)}
	e.metadata, _ = x.metadata.JSON() // metadata that cannot be written is not compared
	if phase == PhaseRequest {
		e.request = x.request.effect(x.running.newBody)
		e.answered = x.answered
	}
	if phase == PhaseResponse || x.answered {
		e.status = x.status
		e.response = x.response.effect(x.running.newBody || x.running.answers)
	}
	return e
}

func (m *message) effect(newBody bool) madeMessage {
	result := madeMessage{headers: m.headers.view, newBody: newBody}
	if newBody {
		result.size, result.sum = m.body.size, hashOf(m.body.pieces)
	}
	return result
}

func hashOf(pieces [][]byte) uint64 {
	var hash maphash.Hash
	hash.SetSeed(shadowSeed)
	for _, piece := range pieces {
		_, _ = hash.Write(piece)
	}
	return hash.Sum64()
}

// same reports whether both effects are equal, for an exchange whose body, as far as it is known, has these pieces.
func (e *effect) same(other *effect, body [][]byte) bool {
	return e.method == other.method && e.path == other.path && e.query == other.query && e.authority == other.authority &&
		e.upstream == other.upstream && e.answered == other.answered && e.status == other.status &&
		e.request.same(&other.request, body) && e.response.same(&other.response, body) &&
		bytes.Equal(e.metadata, other.metadata) && sameAnalytics(e.analytics, other.analytics)
}

func (m *madeMessage) same(other *madeMessage, body [][]byte) bool {
	if !sameHeaders(m.headers, other.headers) {
		return false
	}
	switch {
	case m.newBody && other.newBody:
		return m.size == other.size && m.sum == other.sum
	case m.newBody:
		return m.size == sizeOf(body) && m.sum == hashOf(body)
	case other.newBody:
		return other.size == sizeOf(body) && other.sum == hashOf(body)
	}
	return true
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
