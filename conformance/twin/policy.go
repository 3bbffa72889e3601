// Package twin does what its parameters say, as policy.py beside it does: conformance/README.md has the grammar.
package twin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// noneIfEmpty are the texts of a request whose absence is None in Python.
var noneIfEmpty = []string{"upstream", "upstreamPath"}

type script struct {
	OnRequest        step   `json:"onRequest"`
	OnResponse       step   `json:"onResponse"`
	OnRequestStream  stream `json:"onRequestStream"`
	OnResponseStream stream `json:"onResponseStream"`
}

type step struct {
	Sees    []string                   `json:"sees"`
	Writes  map[string]json.RawMessage `json:"writes"`
	Deletes []string                   `json:"deletes"`
	SleepMs int                        `json:"sleepMs"`
	Raises  *string                    `json:"raises"`
	Action  *action                    `json:"action"`
}

type action struct {
	Kind          string         `json:"kind"`
	SetHeaders    []line         `json:"setHeaders"`
	AppendHeaders []line         `json:"appendHeaders"`
	RemoveHeaders []string       `json:"removeHeaders"`
	ManyHeaders   many           `json:"manyHeaders"`
	Path          *text          `json:"path"`
	Query         *text          `json:"query"`
	Method        *text          `json:"method"`
	Authority     *text          `json:"authority"`
	Upstream      *text          `json:"upstream"`
	Attempts      []attempt      `json:"attempts"`
	StatusCode    int            `json:"statusCode"`
	Body          *text          `json:"body"`
	Analytics     map[string]any `json:"analytics"`
}

type attempt struct {
	Upstream   string `json:"upstream"`
	SetHeaders []line `json:"setHeaders"`
	Path       *text  `json:"path"`
	Body       *text  `json:"body"`
}

type many struct {
	Lines int `json:"lines"`
	Bytes int `json:"bytes"`
}

// line is a header: its name and its value.
type line [2]text

// text is a string, or {of: string, times: number} for a repeated one.
type text string

// UnmarshalJSON reads either form.
func (t *text) UnmarshalJSON(raw []byte) error {
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		*t = text(plain)
		return nil
	}
	var repeated struct {
		Of    string `json:"of"`
		Times int    `json:"times"`
	}
	err := json.Unmarshal(raw, &repeated)
	*t = text(strings.Repeat(repeated.Of, repeated.Times))
	return err
}

// GetPolicy builds an instance. Its parameters are a script.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var p policy
	return &p, params.Decode(&p.script)
}

type policy struct{ script script }

// OnRequest does the step onRequest.
func (p *policy) OnRequest(ctx context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	do := p.script.OnRequest
	saw, err := encodeSeen(do.Sees, func(name string) (any, error) { return requestField(req, name) })
	if err != nil {
		return nil, err
	}
	if err := do.perform(ctx, req.Metadata); err != nil || do.Action == nil && saw == "" {
		return nil, err
	}
	a := do.actionOrDefault()
	if a.Kind == "answer" {
		return a.answer(saw), nil
	}
	return &v1alpha.UpstreamRequestModifications{
		Headers: a.headers(saw), Body: a.body(), AnalyticsMetadata: a.Analytics,
		Path: (*string)(a.Path), Query: (*string)(a.Query), Method: (*string)(a.Method), Authority: (*string)(a.Authority),
		Upstream: (*string)(a.Upstream), Attempts: a.attempts(),
	}, nil
}

// OnResponse does the step onResponse.
func (p *policy) OnResponse(ctx context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	do := p.script.OnResponse
	saw, err := encodeSeen(do.Sees, func(name string) (any, error) { return responseField(res, name) })
	if err != nil {
		return nil, err
	}
	if err := do.perform(ctx, res.Metadata); err != nil || do.Action == nil && saw == "" {
		return nil, err
	}
	a := do.actionOrDefault()
	if a.Kind == "answer" {
		return a.answer(saw), nil
	}
	return &v1alpha.UpstreamResponseModifications{
		Headers: a.headers(saw), Body: a.body(), StatusCode: a.StatusCode, AnalyticsMetadata: a.Analytics,
	}, nil
}

// OnRequestStream does the step onRequestStream.
func (p *policy) OnRequestStream(
	ctx context.Context, req *v1alpha.RequestContext, chunks v1alpha.Chunks,
) v1alpha.Chunks {
	sc := &streamContext{req.Metadata, req.Trailers, func(name string) (any, error) { return requestField(req, name) }, nil}
	return p.script.OnRequestStream.run(ctx, sc, chunks)
}

// OnResponseStream does the step onResponseStream.
func (p *policy) OnResponseStream(
	ctx context.Context, res *v1alpha.ResponseContext, chunks v1alpha.Chunks,
) v1alpha.Chunks {
	sc := &streamContext{res.Metadata, res.Trailers, func(name string) (any, error) { return responseField(res, name) }, nil}
	return p.script.OnResponseStream.run(ctx, sc, chunks)
}

// Close does nothing.
func (*policy) Close() error { return nil }

// perform does all of the step but its action.
func (s step) perform(ctx context.Context, metadata *v1alpha.ExchangeMetadata) error {
	if err := s.write(metadata); err != nil {
		return err
	}
	return s.waitOrRaise(ctx)
}

func (s step) write(metadata *v1alpha.ExchangeMetadata) error {
	for key, value := range s.Writes {
		if err := metadata.Set(key, value); err != nil {
			return err
		}
	}
	for _, key := range s.Deletes {
		metadata.Delete(key)
	}
	return nil
}

// waitOrRaise waits, then returns the error that the step raises.
func (s step) waitOrRaise(ctx context.Context) error {
	if s.SleepMs > 0 {
		select {
		case <-time.After(time.Duration(s.SleepMs) * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.Raises != nil {
		return errors.New(*s.Raises)
	}
	return nil
}

func (s step) actionOrDefault() action {
	if s.Action == nil {
		return action{Kind: "modify"}
	}
	return *s.Action
}

func (a action) headers(saw string) v1alpha.HeaderModifications {
	return v1alpha.HeaderModifications{Set: a.set(saw), Append: headers(a.AppendHeaders), Remove: a.RemoveHeaders}
}

func (a action) set(saw string) []v1alpha.Header {
	all := headers(a.SetHeaders)
	for number := range a.ManyHeaders.Lines {
		value := strings.Repeat("v", a.ManyHeaders.Bytes)
		all = append(all, v1alpha.Header{Name: fmt.Sprintf("x-line-%d", number), Value: value})
	}
	if saw != "" {
		all = append(all, v1alpha.Header{Name: "x-saw", Value: saw})
	}
	return all
}

func (a action) body() *[]byte {
	if a.Body == nil {
		return nil
	}
	octets := encodeLatin1(string(*a.Body))
	return &octets
}

func (a action) attempts() []v1alpha.Attempt {
	var all []v1alpha.Attempt
	for _, tried := range a.Attempts {
		var body *[]byte
		if tried.Body != nil {
			octets := encodeLatin1(string(*tried.Body))
			body = &octets
		}
		all = append(all, v1alpha.Attempt{Upstream: tried.Upstream, Set: headers(tried.SetHeaders), Path: (*string)(tried.Path), Body: body})
	}
	return all
}

func (a action) answer(saw string) *v1alpha.ImmediateResponse {
	answer := &v1alpha.ImmediateResponse{StatusCode: a.StatusCode, Headers: a.set(saw), AnalyticsMetadata: a.Analytics}
	if body := a.body(); body != nil {
		answer.Body = *body
	}
	return answer
}

func headers(lines []line) []v1alpha.Header {
	var all []v1alpha.Header
	for _, header := range lines {
		all = append(all, v1alpha.Header{Name: string(header[0]), Value: string(encodeLatin1(string(header[1])))})
	}
	return all
}

// encodeSeen returns the values of these names as the value of a header; "" if there are no names.
func encodeSeen(names []string, find func(string) (any, error)) (string, error) {
	saw := map[string]any{}
	for _, name := range names {
		value, err := find(name)
		if err != nil {
			return "", err
		}
		saw[name] = value
	}
	if len(saw) == 0 {
		return "", nil
	}
	written, err := json.Marshal(saw)
	return base64.StdEncoding.EncodeToString(written), err
}

// requestField returns a text or bool of the request by its name in lower camel case, its peer, or a part of the message.
func requestField(req *v1alpha.RequestContext, name string) (any, error) {
	if name == "peer" {
		if req.Peer == nil {
			return nil, nil
		}
		written, err := req.Peer.JSON()
		return json.RawMessage(written), err
	}
	field := reflect.ValueOf(*req).FieldByNameFunc(func(field string) bool { return strings.EqualFold(field, name) })
	switch kind := field.Kind(); {
	case kind == reflect.String && field.Len() == 0 && slices.Contains(noneIfEmpty, name):
		return nil, nil
	case kind == reflect.String || kind == reflect.Bool:
		return field.Interface(), nil
	}
	return messageField(req.Headers, req.Body, req.Metadata, name)
}

func responseField(res *v1alpha.ResponseContext, name string) (any, error) {
	if of, found := strings.CutPrefix(name, "request."); found {
		return requestField(res.Request, of)
	}
	if name == "status" {
		return res.StatusCode, nil
	}
	return messageField(res.Headers, res.Body, res.Metadata, name)
}

func messageField(all v1alpha.Headers, body []byte, metadata *v1alpha.ExchangeMetadata, name string) (any, error) {
	switch {
	case name == "body" && body == nil:
		return nil, nil
	case name == "body":
		return decodeLatin1(string(body)), nil
	case name == "metadata":
		written, err := metadata.JSON()
		if written == nil {
			written = []byte("{}")
		}
		return json.RawMessage(written), err
	}
	values := []string{}
	for value := range all.Values(strings.TrimPrefix(name, "header.")) {
		values = append(values, decodeLatin1(value))
	}
	return values, nil
}

// decodeLatin1 returns a text with one character for each byte.
func decodeLatin1(octets string) string {
	var all strings.Builder
	for i := range len(octets) {
		all.WriteRune(rune(octets[i]))
	}
	return all.String()
}

// encodeLatin1 is the reverse of decodeLatin1.
func encodeLatin1(characters string) []byte {
	octets := []byte{}
	for _, r := range characters {
		octets = append(octets, byte(r))
	}
	return octets
}
