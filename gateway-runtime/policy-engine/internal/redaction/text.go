package redaction

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
)

var (
	// {" in base64 is eyJ: what begins so is JSON, the parts of a JWT (RFC 7519) for one; a cut one, too.
	jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)*`)
	// RFC 9110, 11.4, and percent-encoded.
	credentials = regexp.MustCompile(`(?i)\b(bearer|dpop|basic|negotiate)((?:\s|%20|\+)+)([A-Za-z0-9._~+/=-]+)`)
	userinfo    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s"'<>]*@`)
	parameter   = regexp.MustCompile(`([?&;#])([^=&;?#\s"'<>]+)=([^&;#\s"'<>]*)`)
	assignment  = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_-]{0,63})(?:\\?["'])?[ \t]*[:=][ \t]*`)
	unquoted    = regexp.MustCompile(`^[^\s,;&"'<>{}\[\]()]+`)
)

// Text is free text as it may be shown, and how many secrets were taken out of it: JSON Web Tokens, credentials (Bearer …),
// users and passwords of URLs, parameters of queries, and what stands behind a name of the list and ":" or "=".
func (l *List) Text(text string) (string, int) {
	if !suspicious(text) {
		return text, 0
	}
	total := 0
	replace := func(pattern *regexp.Regexp, with func(match []string) (string, bool)) {
		text = pattern.ReplaceAllStringFunc(text, func(found string) string {
			shown, secret := with(pattern.FindStringSubmatch(found))
			if !secret {
				return found
			}
			total++
			return shown
		})
	}
	replace(jwt, func([]string) (string, bool) { return Mark, true })
	replace(credentials, func(match []string) (string, bool) {
		return match[1] + match[2] + Mark, isCredential(match[1], match[3])
	})
	replace(userinfo, func(match []string) (string, bool) { return match[1] + Mark + "@", true })
	replace(parameter, func(match []string) (string, bool) {
		name, err := url.QueryUnescape(match[2])
		secret := func(name string) bool { return l == nil || l.parameters.has(name) }
		return match[1] + match[2] + "=" + Mark, match[3] != Mark && (err != nil || isSecretName(name, secret))
	})
	text, count := l.assignments(text)
	return text, total + count
}

// suspicious is false for most text, at little cost: a secret comes with one of these.
func suspicious(text string) bool {
	return strings.ContainsAny(text, "=:") || strings.Contains(text, "eyJ") ||
		strings.ContainsAny(text, " \t\r\n\f+%") && credentials.MatchString(text)
}

// isCredential: "basic" is a word, too.
func isCredential(scheme, value string) bool {
	if !strings.EqualFold(scheme, "basic") {
		return true
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimRight(value, "=") + strings.Repeat("=", -len(strings.TrimRight(value, "="))&3))
	return err != nil && len(value) >= 16 || strings.Contains(string(decoded), ":")
}

// assignments takes out what stands behind a name and ":" or "=": that of a header to the end of its line, for a cookie
// has spaces.
func (l *List) assignments(text string) (string, int) {
	var shown strings.Builder
	at, total := 0, 0
	for _, match := range assignment.FindAllStringSubmatchIndex(text, -1) {
		if match[0] < at {
			continue
		}
		name := text[match[2]:match[3]]
		if l != nil && !l.headers.has(name) && !l.fields.has(name) {
			continue
		}
		size := valuesSize(text[match[1]:], l == nil || l.headers.has(name))
		if size == 0 || strings.HasPrefix(text[match[1]:], Mark) {
			continue
		}
		shown.WriteString(text[at:match[1]])
		shown.WriteString(Mark)
		at = match[1] + size
		total++
	}
	if total == 0 {
		return text, 0
	}
	shown.WriteString(text[at:])
	return shown.String(), total
}

// valuesSize is that of all values at the beginning of text that nothing stands between.
func valuesSize(text string, toEndOfLine bool) (size int) {
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		return len(text)
	}
	for {
		more := valueSize(text[size:], toEndOfLine)
		if more == 0 {
			return size
		}
		size += more
		toEndOfLine = false // what comes behind a quote is no more of it
	}
}

// valueSize is the length of a value at the beginning of text.
func valueSize(text string, toEndOfLine bool) int {
	if after, escaped := strings.CutPrefix(text, `\"`); escaped { // JSON in JSON
		if end := strings.Index(after, `\"`); end >= 0 {
			return end + 4
		}
		return len(text)
	}
	switch {
	case text == "":
		return 0
	case text[0] == '"' || text[0] == '\'':
		return quotedSize(text)
	case toEndOfLine:
		if end := strings.IndexAny(text, "\r\n\"'"); end >= 0 {
			return end
		}
		return len(text)
	}
	return len(unquoted.FindString(text))
}

// quotedSize is the length of a text in quotes, all of it where the second one is missing.
func quotedSize(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[0]:
			return i + 1
		}
	}
	return len(text)
}
