package redaction

import (
	"net/url"
	"strings"
)

// Query is a query as it may be shown, without "?" as it came, and how many secrets were taken out of it. What is no
// secret stays byte for byte. A name that cannot be decoded is one of the list.
func (l *List) Query(raw string) (string, int) {
	return l.pairs(raw, func(name string) bool { return l == nil || l.parameters.has(name) })
}

// Path is a path with its query, or any URL, as it may be shown.
func (l *List) Path(raw string) (string, int) {
	raw, fragment, hasFragment := strings.Cut(raw, "#")
	before, query, found := strings.Cut(raw, "?")
	shown, total := l.Text(before)
	if found {
		without, count := l.Query(query)
		shown, total = shown+"?"+without, total+count
	}
	if hasFragment { // of OAuth's implicit flow: #access_token=…
		without, count := l.Query(fragment)
		shown, total = shown+"#"+without, total+count
	}
	return shown, total
}

// pairs takes secrets out of name=value&name=value.
func (l *List) pairs(raw string, secret func(name string) bool) (string, int) {
	if raw == "" {
		return "", 0
	}
	shown, total := make([]byte, 0, len(raw)), 0
	for raw != "" {
		end := strings.IndexAny(raw, "&;")
		separator := ""
		if end < 0 {
			end = len(raw)
		} else {
			separator = raw[end : end+1]
		}
		piece, count := l.pair(raw[:end], secret)
		shown, total = append(append(shown, piece...), separator...), total+count
		raw = raw[end+len(separator):]
	}
	return string(shown), total
}

func (l *List) pair(raw string, secret func(name string) bool) (string, int) {
	name, value, found := strings.Cut(raw, "=")
	if !found {
		if l == nil && raw != "" {
			return Mark, 1
		}
		return l.Text(raw)
	}
	decoded, err := url.QueryUnescape(name)
	if err != nil || isSecretName(decoded, secret) {
		return name + "=" + Mark, 1
	}
	return l.encoded(name+"=", value)
}

// isSecretName also knows what some write for lists and objects: token[], user[password], user.password.
func isSecretName(name string, secret func(name string) bool) bool {
	if secret(name) {
		return true
	}
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '[' || r == ']' || r == '.' }) {
		if secret(part) {
			return true
		}
	}
	return false
}

// encoded takes secrets out of the value of a parameter that is none itself: JSON, a URL, a token.
func (l *List) encoded(before, value string) (string, int) {
	if decoded, err := url.QueryUnescape(value); err == nil && decoded != value {
		if shown, count := l.nested(decoded); count > 0 {
			return before + url.QueryEscape(shown), count
		}
		return before + value, 0
	}
	shown, count := l.nested(value)
	return before + shown, count
}
