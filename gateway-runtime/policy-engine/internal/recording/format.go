package recording

import (
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"

	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// The JSON of a recorded exchange; docs/reference/recordings.md describes its members.

const formatVersion = 1

// Exchange is a recorded exchange.
type Exchange struct {
	Version    int       `json:"version"`
	ID         string    `json:"id"`
	Node       string    `json:"node"`
	StartedAt  time.Time `json:"startedAt"`
	DurationMs float64   `json:"durationMs"`
	API        string    `json:"api,omitempty"`
	APIVersion string    `json:"apiVersion,omitempty"`
	Context    string    `json:"context,omitempty"`
	Operation  string    `json:"operation,omitempty"`
	LoosePaths bool      `json:"loosePaths,omitempty"` // strictPaths: false
	Chain      string    `json:"chain,omitempty"`

	UpstreamPaths []UpstreamPath `json:"upstreamPaths,omitempty"`

	Policies   []string   `json:"policies,omitempty"`
	TraceID    string     `json:"traceId,omitempty"`
	Client     *Client    `json:"client,omitempty"`
	Request    *Message   `json:"request,omitempty"`
	Forwarded  *Message   `json:"forwarded,omitempty"`
	Upstream   *Message   `json:"upstreamResponse,omitempty"`
	Response   *Message   `json:"response,omitempty"`
	AnsweredBy AnsweredBy `json:"answeredBy,omitempty"`
	Details    string     `json:"details,omitempty"`
	Outcome    string     `json:"outcome"`
	Error      string     `json:"error,omitempty"`

	Cause *proxyanswer.Cause `json:"cause,omitempty"` // nil: not the proxy's own answer

	Metadata   map[string]any `json:"metadata,omitempty"`
	Analytics  map[string]any `json:"analytics,omitempty"`
	Executions []Execution    `json:"executions"`
	Redacted   int            `json:"redacted"`
}

// AnsweredBy is the origin of the client's answer.
type AnsweredBy string

// The values of AnsweredBy.
const (
	ByUpstream AnsweredBy = "upstream"
	ByPolicy   AnsweredBy = "policy"
	ByFailure  AnsweredBy = "failure" // of a policy
	ByGateway  AnsweredBy = "gateway" // for a reason outside of policies
	ByProxy    AnsweredBy = "proxy"   // the proxy's own answer; Cause explains it
)

// cause redacts the explanation of the proxy's own answer.
func (s *shower) cause(cause proxyanswer.Cause) *proxyanswer.Cause {
	cause.Reason, cause.Cure, cause.Transport = s.text(cause.Reason), s.text(cause.Cure), s.text(cause.Transport)
	return &cause
}

// UpstreamPath describes how the path changes on its way to an upstream; "" is the operation's own.
type UpstreamPath struct {
	Upstream     string `json:"upstream"`
	Base         string `json:"base"`
	Pattern      string `json:"pattern,omitempty"`
	Substitution string `json:"substitution,omitempty"`
}

// Client is the sender of the request.
type Client struct {
	Address string        `json:"address,omitempty"`
	Peer    *v1alpha.Peer `json:"peer,omitempty"`
}

// Message is a request or a response.
type Message struct {
	AtMs      float64     `json:"atMs,omitempty"`
	EndMs     float64     `json:"endMs,omitempty"` // when the last piece of its body came or left, if it passed in pieces
	Method    string      `json:"method,omitempty"`
	Scheme    string      `json:"scheme,omitempty"`
	Authority string      `json:"authority,omitempty"`
	Path      string      `json:"path,omitempty"`
	Query     string      `json:"query,omitempty"`
	Upstream  string      `json:"upstream,omitempty"`
	Status    int         `json:"status,omitempty"`
	Headers   [][2]string `json:"headers"`
	Trailers  [][2]string `json:"trailers,omitempty"`
	Body      *Body       `json:"body,omitempty"`
}

// Body is the recorded part of a body.
type Body struct {
	Size      int64   `json:"size"`
	Text      *string `json:"text,omitempty"`
	Base64    *string `json:"base64,omitempty"`
	Truncated bool    `json:"truncated,omitempty"`
	Decoded   string  `json:"decoded,omitempty"`
}

// Execution is one policy's turn.
type Execution struct {
	Index      int      `json:"index"`
	Policy     string   `json:"policy"`
	Phase      string   `json:"phase"`
	StartedMs  float64  `json:"startedMs"`
	DurationMs float64  `json:"durationMs"`
	WorkMs     *float64 `json:"workMs,omitempty"`
	ChunksMs   *float64 `json:"chunksMs,omitempty"` // of a stream: time that it waited for chunks, and for the consumer of its own
	Outcome    string   `json:"outcome"`
	When       string   `json:"when,omitempty"` // of a skipped execution
	Failure    *Failure `json:"failure,omitempty"`
	Changes    []Change `json:"changes,omitempty"`
	Stream     *Stream  `json:"stream,omitempty"`
	Shadow     bool     `json:"shadow,omitempty"`

	Comparison   string `json:"comparison,omitempty"`   // of a shadow: same or different
	ComparedWith *int   `json:"comparedWith,omitempty"` // an index; nil: with no change
	Reason       string `json:"reason,omitempty"`       // why a shadow was skipped
}

// Failure is the reason why an execution failed.
type Failure struct {
	Class   v1alpha.FailureClass `json:"class"`
	Message string               `json:"message"`
	File    string               `json:"file,omitempty"`
	Line    int                  `json:"line,omitempty"`
}

// Stream counts the bytes that a streaming policy received and yielded.
type Stream struct {
	BytesIn  int64 `json:"bytesIn"`
	BytesOut int64 `json:"bytesOut"`
}

// Change is one thing that a policy has changed. What determines the types of Before and After; nil: absent.
type Change struct {
	What   string `json:"what"`
	Name   string `json:"name,omitempty"`
	Before any    `json:"before,omitempty"`
	After  any    `json:"after,omitempty"`
}

// encode returns the exchange as JSON, with times rounded to significant digits.
func (e *Exchange) encode() ([]byte, error) {
	e.StartedAt = e.StartedAt.UTC().Truncate(time.Microsecond)
	if e.Executions == nil {
		e.Executions = []Execution{}
	}
	return json.Marshal(e)
}

// milliseconds returns a duration in milliseconds, to the microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// bodyOf returns the recorded form of a body that begins with data.
func bodyOf(data []byte, size int64, truncated bool) *Body {
	b := &Body{Size: size, Truncated: truncated}
	if whole := trimCutRune(data, truncated); utf8.Valid(whole) {
		text := string(whole)
		b.Text = &text
	} else {
		text := base64.StdEncoding.EncodeToString(data)
		b.Base64 = &text
	}
	return b
}

// trimCutRune removes an incomplete character from the end.
func trimCutRune(data []byte, truncated bool) []byte {
	if !truncated {
		return data
	}
	for back := 1; back < utf8.UTFMax && back <= len(data); back++ {
		if end := data[len(data)-back:]; utf8.RuneStart(end[0]) {
			if !utf8.FullRune(end) {
				return data[:len(data)-back]
			}
			break
		}
	}
	return data
}

// decode parses the output of encode.
func decode(text []byte) (*Exchange, error) {
	e := &Exchange{}
	return e, json.Unmarshal(text, e)
}
