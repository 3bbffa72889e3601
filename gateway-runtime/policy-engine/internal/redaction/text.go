package redaction

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
)

var (
	// {" in base64 is eyJ, with which JSON begins: for example the parts of a JWT (RFC 7519), even a truncated one.
	jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)*`)
	// RFC 9110, 11.4, also percent-encoded.
	credentials = regexp.MustCompile(`(?i)\b(bearer|dpop|basic|negotiate)((?:\s|%20|\+)+)([A-Za-z0-9._~+/=-]+)`)
	userinfo    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s"'<>]*@`)
	parameter   = regexp.MustCompile(`([?&;#])([^=&;?#\s"'<>]+)=([^&;#\s"'<>]*)`)
	assignment  = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_-]{0,63})(?:\\?["'])?[ \t]*[:=][ \t]*`)
	unquoted    = regexp.MustCompile(`^[^\s,;&"'<>{}\[\]()]+`)
)

// Text returns free text without secrets, and the number of secrets removed: JSON Web Tokens, credentials (Bearer …),
// users and passwords of URLs, query parameters, and values behind a name of the list and ":" or "=".
func (l *List) Text(text string) (string, int) {
	if !suspicious(text) {
		return text, 0
	}
	total := 0
	replace := func(pattern *regexp.Regexp, with func(match []string) (string, bool)) {
		text = pattern.ReplaceAllStringFunc(text, func(part string) string {
			shown, secret := with(pattern.FindStringSubmatch(part))
			if !secret {
				return part
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

// suspicious quickly excludes most texts: every secret comes with one of these characters.
func suspicious(text string) bool {
	return strings.ContainsAny(text, "=:") || strings.Contains(text, "eyJ") ||
		strings.ContainsAny(text, " \t\r\n\f+%") && credentials.MatchString(text)
}

// isCredential distinguishes credentials from the word "basic" in prose.
func isCredential(scheme, value string) bool {
	if !strings.EqualFold(scheme, "basic") {
		return true
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimRight(value, "=") + strings.Repeat("=", -len(strings.TrimRight(value, "="))&3))
	return err != nil && len(value) >= 16 || strings.Contains(string(decoded), ":")
}

// assignments removes the values behind a secret name and ":" or "=": the value of a header up to the end of its line, since
// cookies contain spaces.
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
		length := valuesLength(text[match[1]:], l == nil || l.headers.has(name))
		if length == 0 || strings.HasPrefix(text[match[1]:], Mark) {
			continue
		}
		shown.WriteString(text[at:match[1]])
		shown.WriteString(Mark)
		at = match[1] + length
		total++
	}
	if total == 0 {
		return text, 0
	}
	shown.WriteString(text[at:])
	return shown.String(), total
}

// valuesLength returns the length of the run of adjacent values at the start of text.
func valuesLength(text string, toEndOfLine bool) (length int) {
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		return len(text)
	}
	for {
		next := valueLength(text[length:], toEndOfLine)
		if next == 0 {
			return length
		}
		length += next
		toEndOfLine = false // only the first value extends to the end of the line
	}
}

// valueLength returns the length of a value at the start of text.
func valueLength(text string, toEndOfLine bool) int {
	if rest, escaped := strings.CutPrefix(text, `\"`); escaped { // JSON in JSON
		if end := strings.Index(rest, `\"`); end >= 0 {
			return end + 4
		}
		return len(text)
	}
	switch {
	case text == "":
		return 0
	case text[0] == '"' || text[0] == '\'':
		return quotedLength(text)
	case toEndOfLine:
		if end := strings.IndexAny(text, "\r\n\"'"); end >= 0 {
			return end
		}
		return len(text)
	}
	return len(unquoted.FindString(text))
}

// quotedLength returns the length of a quoted text, up to the end if the closing quote is missing.
func quotedLength(text string) int {
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
