package redaction

import (
	"bytes"
	"encoding/json"
	"strings"
)

const maxDepth = 200 // of JSON; deeper values are removed

// outcome is the result of reading a piece of JSON.
type outcome int

const (
	complete outcome = iota
	cut              // the input ends within it
	wrong            // the input is no JSON from here on
)

// jsonReader copies JSON, one value or several, without secrets. It reads as far as it can: a truncated body is
// redacted up to its end, and from the first invalid byte on nothing is kept.
type jsonReader struct {
	list  *List
	in    []byte
	at    int
	out   []byte
	count int
	depth int
}

func (l *List) json(body []byte) ([]byte, int, outcome) {
	r := &jsonReader{list: l, in: body, out: make([]byte, 0, len(body)+len(Mark))}
	if bytes.HasPrefix(body, []byte("\xef\xbb\xbf")) {
		r.copy(3)
	}
	result := complete
	for r.space(); result == complete && r.at < len(r.in); r.space() {
		result = r.value()
	}
	if result == wrong {
		r.out = append(r.out, Mark...)
		r.count++
	}
	return r.out, r.count, result
}

// nested redacts text that may be JSON itself.
func (l *List) nested(text string) (string, int) {
	if begin := strings.TrimLeft(text, " \t\r\n"); strings.HasPrefix(begin, "{") || strings.HasPrefix(begin, "[") {
		if shown, count, result := l.json([]byte(text)); result != wrong {
			return string(shown), count
		}
	}
	return l.Text(text)
}

func (r *jsonReader) copy(size int) {
	r.out = append(r.out, r.in[r.at:r.at+size]...)
	r.at += size
}

// space copies white space between values, including the record separator (RFC 7464).
func (r *jsonReader) space() {
	for r.at < len(r.in) && bytes.IndexByte([]byte(" \t\r\n\x1e"), r.in[r.at]) >= 0 {
		r.copy(1)
	}
}

func (r *jsonReader) value() outcome {
	if r.at == len(r.in) {
		return cut
	}
	if r.depth++; r.depth > maxDepth {
		return wrong
	}
	defer func() { r.depth-- }()
	switch r.in[r.at] {
	case '{':
		return r.members('}', r.member)
	case '[':
		return r.members(']', r.value)
	case '"':
		raw, result := r.text()
		shown, count := r.list.quoted(raw, result)
		r.out, r.count = append(r.out, shown...), r.count+count
		return result
	}
	return r.literal()
}

// members reads the members of an object or a list.
func (r *jsonReader) members(end byte, read func() outcome) outcome {
	r.copy(1)
	for r.space(); r.at < len(r.in); r.space() {
		if r.in[r.at] == end {
			r.copy(1)
			return complete
		}
		if result := read(); result != complete {
			return result
		}
		r.space()
		switch {
		case r.at == len(r.in):
			return cut
		case r.in[r.at] == ',':
			r.copy(1)
		case r.in[r.at] != end:
			return wrong
		}
	}
	return cut
}

func (r *jsonReader) member() outcome {
	if r.in[r.at] != '"' {
		return wrong
	}
	raw, result := r.text()
	r.out = append(r.out, raw...)
	if result != complete {
		return result
	}
	r.space()
	switch {
	case r.at == len(r.in):
		return cut
	case r.in[r.at] != ':':
		return wrong
	}
	r.copy(1)
	r.space()
	var name string
	if json.Unmarshal(raw, &name) == nil && !r.list.field(name) {
		return r.value()
	}
	return r.secret()
}

// secret reads a value and discards it.
func (r *jsonReader) secret() outcome {
	kept, count := len(r.out), r.count
	result := r.value()
	r.out, r.count = append(r.out[:kept], `"`+Mark+`"`...), count+1
	return result
}

// text reads a string with its quotes; a truncated one has no closing quote.
func (r *jsonReader) text() ([]byte, outcome) {
	begin := r.at
	for r.at++; r.at < len(r.in); r.at++ {
		switch r.in[r.at] {
		case '\\':
			r.at++
		case '"':
			r.at++
			return r.in[begin:r.at], complete
		}
	}
	r.at = len(r.in)
	return r.in[begin:], cut
}

// quoted redacts a JSON string. Without a secret in it, it is returned unchanged.
func (l *List) quoted(raw []byte, result outcome) ([]byte, int) {
	whole := raw
	if result == cut {
		whole = append(bytes.Clone(raw), '"')
	}
	var text string
	if json.Unmarshal(whole, &text) != nil { // an invalid or truncated escape
		return []byte(`"` + Mark), 1
	}
	shown, count := l.nested(text)
	if count == 0 {
		return raw, 0
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(shown) // a string has no encoding errors
	encoded := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	if result == cut {
		encoded = encoded[:len(encoded)-1]
	}
	return encoded, count
}

// literal reads a number, true, false or null, or the beginning of a truncated one.
func (r *jsonReader) literal() outcome {
	end := r.at
	for end < len(r.in) && bytes.IndexByte([]byte("+-.0123456789Eaeflnrstu"), r.in[end]) >= 0 {
		end++
	}
	word := r.in[r.at:end]
	isCut := end == len(r.in)
	switch {
	case len(word) > 0 && json.Valid(word):
	case isCut && len(word) > 0 && (beginsLiteral(word) || json.Valid(append(bytes.Clone(word), '0'))):
	default:
		return wrong
	}
	r.copy(len(word))
	if isCut {
		return cut
	}
	return complete
}

func beginsLiteral(word []byte) bool {
	for _, literal := range []string{"true", "false", "null"} {
		if strings.HasPrefix(literal, string(word)) {
			return true
		}
	}
	return false
}
