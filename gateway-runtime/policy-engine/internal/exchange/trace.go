package exchange

import (
	"encoding/hex"
	"sync/atomic"
)

// Trace is the place of a traced exchange in its trace: https://www.w3.org/TR/trace-context/
type Trace struct {
	ID       [16]byte
	Parent   [8]byte // the client's span; zero: the trace begins here
	Exchange [8]byte // the span of the exchange, parent of all others
	Upstream [8]byte // the span of the request as it goes upstream
	State    string  // tracestate, which belongs to the parent

	Sent atomic.Bool // the proxy has received the trace, and will report the exchange
}

// Traceparent is the header that goes upstream.
func (t *Trace) Traceparent() string {
	text := append(make([]byte, 0, 55), "00-"...)
	text = append(hex.AppendEncode(text, t.ID[:]), '-')
	return string(append(hex.AppendEncode(text, t.Upstream[:]), "-01"...))
}

// traced is a Watcher that traces the exchange.
type traced interface{ Trace() *Trace }
