package recording

import (
	"io"

	"gatewright.dev/policy-engine/internal/contentcoding"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/sdk/policy/v1alpha"
)

// shower turns drafts into their recorded form: it removes secrets, and counts them.
type shower struct {
	list      *redaction.List
	values    *redaction.Values
	harmless  *harmless
	bodyBytes int
	redacted  int
}

func (s *shower) text(text string) string {
	shown, count := s.list.Text(text)
	s.redacted += count
	return s.withoutValues(shown)
}

func (s *shower) query(query string) string {
	shown, count := s.list.Query(query)
	s.redacted += count
	return s.withoutValues(shown)
}

func (s *shower) fields(fields map[string]any) map[string]any {
	shown, count := s.list.Fields(fields)
	s.redacted += count
	for name := range shown {
		shown[name], count = s.values.Shown(shown[name])
		s.redacted += count
	}
	return shown
}

// withoutValues removes the secrets of policies that the list of names does not cover.
func (s *shower) withoutValues(text string) string {
	shown, count := s.values.Text(text)
	s.redacted += count
	return shown
}

func (s *shower) headers(headers v1alpha.Headers) [][2]string {
	if headers == nil {
		return nil
	}
	shown := make([][2]string, len(headers))
	for n := range headers {
		shown[n] = [2]string{headers[n].Name, s.header(headers[n].Name, headers[n].Value)}
	}
	return shown
}

func (s *shower) header(name, value string) string {
	if s.harmless.has(name, value) { // by the list of names; the secrets of policies change over time
		return s.withoutValues(value)
	}
	shown, count := s.list.HeaderValue(name, value)
	if s.redacted += count; count == 0 {
		s.harmless.add(name, value)
	}
	return s.withoutValues(shown)
}

// ---------------------------------------------------------------- bodies

func (s *shower) flow(f *flow, headers v1alpha.Headers) *Body {
	if f.size == 0 && !f.rest {
		return nil
	}
	return s.body(f.data, f.size, f.rest || f.size > int64(len(f.data)), headers)
}

func (s *shower) content(c *content, headers v1alpha.Headers) *Body {
	if c == nil {
		return nil
	}
	return s.body(c.data, c.size, !c.whole || c.size > int64(len(c.data)), headers)
}

// body returns the beginning of a body. A content encoding is decoded, since secrets cannot be found in it otherwise; a body that
// cannot be decoded is not shown.
func (s *shower) body(data []byte, size int64, truncated bool, headers v1alpha.Headers) *Body {
	encoding := headers.Get("content-encoding")
	if encoding != "" && encoding != "identity" {
		var ok bool
		if data, truncated, ok = s.decode(data, truncated, headers); !ok {
			return &Body{Size: size, Truncated: true, Decoded: encoding}
		}
	}
	shown, count := s.list.Body(headers.Get("content-type"), data)
	s.redacted += count
	body := bodyOf([]byte(s.withoutValues(string(shown))), size, truncated)
	if encoding != "identity" {
		body.Decoded = encoding
	}
	return body
}

// decode removes the content codings from the part of a body that is kept.
func (s *shower) decode(data []byte, truncated bool, headers v1alpha.Headers) (plain []byte, cut, ok bool) {
	codings, err := contentcoding.ParseCodings(headers.Values("content-encoding"))
	if err != nil || len(codings) == 0 {
		return nil, true, false
	}
	consumed := false
	decoder := contentcoding.NewDecoder(codings, func() ([]byte, error) {
		if consumed {
			return nil, io.EOF
		}
		consumed = true
		return data, nil
	})
	defer decoder.Close()
	for len(plain) < s.bodyBytes {
		piece, err := decoder.Next()
		plain = append(plain, piece[:min(len(piece), s.bodyBytes-len(plain))]...)
		if err == io.EOF { //nolint:errorlint // it is io.EOF itself
			return plain, truncated, true
		}
		if err != nil {
			return plain, true, truncated && len(plain) > 0
		}
	}
	return plain, true, true
}

// ---------------------------------------------------------------- changes

func (s *shower) change(c *change) Change {
	return Change{What: c.what, Name: c.name, Before: s.side(c, c.before), After: s.side(c, c.after)}
}

// side returns the recorded form of one side of a change.
func (s *shower) side(c *change, value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case []string:
		shown := make([]string, len(v))
		for n := range v {
			shown[n] = s.header(c.name, v[n])
		}
		return shown
	case *bodyIn:
		return s.content(v.content, v.headers)
	case *answer:
		return &Message{Status: v.status, Headers: s.headers(v.headers), Body: s.content(v.body, v.headers)}
	case string:
		switch c.what {
		case "query":
			return s.query(v)
		case "path":
			return s.text(v)
		}
	}
	if c.what == "metadata" || c.what == "analytics" {
		return s.fields(map[string]any{c.name: value})[c.name]
	}
	return value
}
