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
		e.request = x.request.made(x.running.newBody)
		e.answered = x.answered
	}
	if phase == PhaseResponse || x.answered {
		e.status = x.status
		e.response = x.response.made(x.running.newBody || x.running.answers)
	}
	return e
}

func (m *message) made(newBody bool) madeMessage {
	made := madeMessage{headers: m.headers.view, newBody: newBody}
	if newBody {
		made.size, made.sum = m.body.size, sumOf(m.body.pieces)
	}
	return made
}

func sumOf(pieces [][]byte) uint64 {
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
		return m.size == sizeOf(body) && m.sum == sumOf(body)
	case other.newBody:
		return other.size == sizeOf(body) && other.sum == sumOf(body)
	}
	return true
}

// sameHeaders reports whether both lists have the same values for each name, regardless of the order of names.
func sameHeaders(one, other v1alpha.Headers) bool {
	if len(one) != len(other) {
		return false
	}
	if slices.Equal(one, other) {
		return true
	}
	for n := range one {
		if !slices.Equal(slices.Collect(one.Values(one[n].Name)), slices.Collect(other.Values(one[n].Name))) {
			return false
		}
	}
	return true
}

// sameAnalytics compares the analytics as JSON.
func sameAnalytics(one, other map[string]any) bool {
	if len(one) == 0 && len(other) == 0 {
		return true
	}
	text, err := json.Marshal(one)
	otherText, otherErr := json.Marshal(other)
	return err == nil && otherErr == nil && bytes.Equal(text, otherText)
}
