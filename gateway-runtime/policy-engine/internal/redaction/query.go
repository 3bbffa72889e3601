package redaction

import (
	"net/url"
	"strings"
)

// Query returns a query without secrets, and the number of secrets removed. raw has no "?". All else stays byte for byte.
// A name that cannot be decoded counts as secret.
func (l *List) Query(raw string) (string, int) {
	return l.pairs(raw, func(name string) bool { return l == nil || l.parameters.has(name) })
}

// Path redacts a path with its query, or any URL.
func (l *List) Path(raw string) (string, int) {
	raw, fragment, hasFragment := strings.Cut(raw, "#")
	path, query, found := strings.Cut(raw, "?")
	shown, total := l.Text(path)
	if found {
		without, count := l.Query(query)
		shown, total = shown+"?"+without, total+count
	}
	if hasFragment { // OAuth's implicit flow: #access_token=…
		without, count := l.Query(fragment)
		shown, total = shown+"#"+without, total+count
	}
	return shown, total
}

// pairs redacts name=value&name=value.
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

// isSecretName also recognizes common names of lists and objects: token[], user[password], user.password.
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

// encoded redacts the value of a parameter that is not secret itself: it may contain JSON, a URL or a token.
func (l *List) encoded(prefix, value string) (string, int) {
	if decoded, err := url.QueryUnescape(value); err == nil && decoded != value {
		if shown, count := l.nested(decoded); count > 0 {
			return prefix + url.QueryEscape(shown), count
		}
		return prefix + value, 0
	}
	shown, count := l.nested(value)
	return prefix + shown, count
}
