package recording

import (
	"strings"
	"time"

	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Unseen is an exchange that the engine has not seen, because its route has no policies or it matched no route: the proxy reports
// it once it has ended.
type Unseen struct {
	RequestID string
	StartedAt time.Time
	Lasted    time.Duration
	Client    string // ip:port
	Scheme    string
	Query     string
	UserAgent string
	Answer    proxyanswer.Answer
}

// IsActive reports whether a recording is under way.
func (r *Recorder) IsActive() bool {
	active := r.active.Load()
	return active != nil && len(*active) > 0
}

// RecordUnseen records the exchange if it matches a recording.
func (r *Recorder) RecordUnseen(x *Unseen, cause *proxyanswer.Cause) {
	o := opening{id: x.RequestID, api: x.Answer.API, operation: x.Answer.Operation, path: x.Answer.Path, client: x.Client, headers: x.headers()}
	end := ending{status: x.Answer.Status}
	end.failed = end.status >= 500 || cause.Party == proxyanswer.Upstream
	var matching []*Recording
	if active := r.active.Load(); active != nil {
		for _, recording := range *active {
			if recording.filter.fitsOpening(&o) && recording.filter.fitsEnd(&end) && recording.filter.isSampled() {
				matching = append(matching, recording)
			}
		}
	}
	if len(matching) == 0 {
		return
	}
	text, err := r.unseen(x, cause).encode()
	if err != nil {
		r.log.Error("an exchange was not recorded", "requestId", x.RequestID, "error", err.Error())
		return
	}
	r.record(x.RequestID, text, matching)
}

// unseen returns the exchange in its recorded form, without secrets.
func (r *Recorder) unseen(x *Unseen, cause *proxyanswer.Cause) *Exchange {
	settings := r.settings.Load()
	s := shower{list: settings.list, values: r.options.Values, harmless: &settings.harmless, bodyBytes: settings.bodyBytes}
	answer := &x.Answer
	e := &Exchange{
		Version: formatVersion, ID: x.RequestID, Node: r.options.Node, StartedAt: x.StartedAt, DurationMs: milliseconds(x.Lasted),
		API: answer.API, Operation: answer.Operation, AnsweredBy: ByProxy, Details: answer.Details, Outcome: outcomeCompleted,
		Request: &Message{Method: answer.Method, Scheme: x.Scheme, Authority: answer.Authority, Path: s.text(answer.Path),
			Query: s.query(x.Query), Headers: s.headers(x.headers())},
		Response: &Message{AtMs: milliseconds(x.Lasted), Status: answer.Status, Headers: [][2]string{}},
		Cause:    s.cause(*cause),
	}
	if x.Client != "" {
		e.Client = &Client{Address: x.Client}
	}
	if strings.HasPrefix(answer.Details, "upstream_reset_after_response_started") {
		e.AnsweredBy, e.Outcome, e.Error = ByUpstream, outcomeFailed, e.Cause.Reason
	}
	e.Redacted = s.redacted
	return e
}

// headers returns the known headers.
func (x *Unseen) headers() v1alpha.Headers {
	headers := v1alpha.Headers{}
	if x.UserAgent != "" {
		headers = append(headers, v1alpha.Header{Name: "user-agent", Value: x.UserAgent})
	}
	return append(headers, v1alpha.Header{Name: "x-request-id", Value: x.RequestID})
}
