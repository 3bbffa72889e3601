package extproc

import (
	"strings"
	"testing"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/chain"
)

// TestTheUpstreamThatAnsweredHasOneName compares the header that Envoy's filter writes with the one that the chain reads.
func TestTheUpstreamThatAnsweredHasOneName(t *testing.T) {
	if chain.AnsweredBy != envoynames.AnsweredByHeader {
		t.Errorf("expected %s, got %s", envoynames.AnsweredByHeader, chain.AnsweredBy)
	}
}

// TestTheFirstEventIsFoundHoweverTheStreamIsCut feeds each stream in two pieces, cut anywhere, and byte by byte.
func TestTheFirstEventIsFoundHoweverTheStreamIsCut(t *testing.T) {
	for stream, failed := range map[string]bool{
		"event: error\ndata: {\"type\":\"error\"}\n\n": true,
		"event: error\n\n":            true,
		"event:error\r\ndata\r\n\r\n": true,
		"data: {\"id\": 1, \"error\": {\"code\": 503}}\n\ndata: {}\n\n":         true,
		"data: {\"type\": \"error\"}\r\rdata: {}\r\r":                           true,
		"data: {\"error\":\ndata: \"no\"}\n\n":                                  true,
		"\ufeff: wait\n\n: more\n\nevent: ping\n\ndata:{\"error\": \"no\"}\n\n": true,
		"id: 7\nretry: 9\ndata: {\"error\": {}}\n\n":                            true,
		"data: {\"error\": null}\n\nevent: error\ndata: no\n\n":                 false,
		"data: {\"choices\": [{\"error\": 1}]}\n\n":                             false,
		"data: {\"text\": \"\\\"error\\\": {}\"}\n\n":                           false,
		"data: error\n\n":        false,
		"data: [DONE]\n\n":       false,
		"event: errors\n\nx\n\n": false,
	} {
		for cut := range len(stream) {
			if got := feed(stream[:cut], stream[cut:]); got != failed {
				t.Errorf("%q cut at %d: expected %v, got %v", stream, cut, failed, got)
			}
		}
		if got := feed(strings.Split(stream, "")...); got != failed {
			t.Errorf("%q byte by byte: expected %v, got %v", stream, failed, got)
		}
	}
}

// TestAnEventThatTheStreamsEndCutsOffCounts reads streams without a blank line at their end.
func TestAnEventThatTheStreamsEndCutsOffCounts(t *testing.T) {
	for stream, failed := range map[string]bool{
		"data: {\"error\": 1}":    true,
		"data: {\"error\": 1}\n":  true,
		"event: error":            true,
		"data: {\"error\": ":      false,
		"data: {\"text\": \"a\"}": false,
		"":                        false,
	} {
		if got := feed(strings.Split(stream, "")...); got != failed {
			t.Errorf("%q: expected %v, got %v", stream, failed, got)
		}
	}
}

func feed(pieces ...string) bool {
	var events firstEvent
	for _, piece := range pieces {
		if events.add([]byte(piece)) {
			return events.failed
		}
	}
	return events.end()
}

func FuzzFirstEvent(f *testing.F) {
	f.Add([]byte("event: error\ndata: {}\n\n"), uint(3))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint) {
		at := int(cut % uint(len(stream)+1)) //nolint:gosec // at most the length
		whole, parts := feed(string(stream)), feed(string(stream[:at]), string(stream[at:]))
		if whole != parts {
			t.Errorf("%q cut at %d: expected %v, got %v", stream, at, whole, parts)
		}
	})
}
