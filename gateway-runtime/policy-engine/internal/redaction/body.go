package redaction

import (
	"bytes"
	"mime"
	"strings"
	"unicode/utf8"
)

// Body returns a body, or the beginning of one, without secrets, and the number of secrets removed: values of
// fields in JSON, XML and forms, and credentials in text. A body that does not conform to its content type is removed from the
// first byte that cannot be parsed.
func (l *List) Body(contentType string, body []byte) ([]byte, int) {
	if len(body) == 0 {
		return body, 0
	}
	if l == nil {
		return []byte(Mark), 1
	}
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind, _, _ = strings.Cut(strings.ToLower(contentType), ";")
		kind = strings.TrimSpace(kind)
	}
	switch {
	case kind == "application/x-www-form-urlencoded":
		return l.form(body)
	case kind == "multipart/form-data":
		return l.multipart(parameters["boundary"], body)
	case strings.HasSuffix(kind, "/json"), strings.HasSuffix(kind, "+json"), strings.HasSuffix(kind, "json-seq"),
		strings.HasSuffix(kind, "ndjson"), strings.HasSuffix(kind, "jsonl"), strings.HasSuffix(kind, "json-lines"):
		shown, count, _ := l.json(body)
		return shown, count
	case strings.HasSuffix(kind, "/xml"), strings.HasSuffix(kind, "+xml"):
		return l.xml(body)
	}
	return l.untyped(body)
}

// untyped redacts a body whose content type names no fields.
func (l *List) untyped(body []byte) ([]byte, int) {
	if !utf8.Valid(trimCutRune(body)) {
		return l.binary(body)
	}
	if begin := bytes.TrimLeft(body, " \t\r\n"); len(begin) > 0 && (begin[0] == '{' || begin[0] == '[') {
		if shown, count, result := l.json(body); result != wrong {
			return shown, count
		}
	}
	shown, total := make([]byte, 0, len(body)), 0
	for line := range bytes.Lines(body) {
		text, count := l.line(string(line))
		shown, total = append(shown, text...), total+count
	}
	return shown, total
}

// line redacts one line of text: an event of server-sent events has JSON behind its name.
func (l *List) line(line string) (string, int) {
	if field, value, found := strings.Cut(line, ":"); found && (field == "data" || field == "") {
		text := strings.TrimLeft(value, " ")
		shown, count := l.nested(text)
		return line[:len(line)-len(text)] + shown, count
	}
	if !strings.ContainsAny(line, " \t<") && strings.Contains(line, "=") {
		return l.pairs(line, l.formField)
	}
	return l.nested(line)
}

// binary keeps binary data, which has no named fields, but removes tokens, which have a form of their own.
func (l *List) binary(body []byte) ([]byte, int) {
	count := 0
	return jwt.ReplaceAllFunc(body, func([]byte) []byte { count++; return []byte(Mark) }), count
}

func trimCutRune(body []byte) []byte {
	for back := 1; back < utf8.UTFMax && back <= len(body); back++ {
		if begin := body[len(body)-back:]; utf8.RuneStart(begin[0]) {
			if !utf8.FullRune(begin) {
				return body[:len(body)-back]
			}
			break
		}
	}
	return body
}

func (l *List) formField(name string) bool {
	return l == nil || l.fields.has(name) || l.parameters.has(name)
}

// form redacts a form's body. Its encoding escapes every quote, bracket and control character: a body with an unescaped one
// is no form, and none of its pairs is kept.
func (l *List) form(body []byte) ([]byte, int) {
	text := strings.TrimRight(string(body), "\r\n")
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || strings.ContainsRune("{}\"<>\\", r) }) {
		return []byte(Mark), 1
	}
	shown, count := l.pairs(text, l.formField)
	return append([]byte(shown), body[len(text):]...), count
}
