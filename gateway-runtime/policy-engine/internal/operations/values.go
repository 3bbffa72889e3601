package operations

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// methodMatcher matches a method: any if it names none and others are not included.
type methodMatcher struct {
	named  []string
	others bool // and all methods without lower-case letters, but TRACE
}

func newMethodMatcher(message *nodev1.OperationRow) methodMatcher {
	matcher := methodMatcher{others: message.GetOtherMethods()}
	if len(message.GetMethods()) > 0 {
		matcher.named = make([]string, 0, len(message.GetMethods()))
	}
	for _, method := range message.GetMethods() {
		matcher.named = append(matcher.named, shared(method))
	}
	return matcher
}

func (m *methodMatcher) isAny() bool { return len(m.named) == 0 && !m.others }

func (m *methodMatcher) matches(method string) bool {
	if m.others {
		return method != "TRACE" && (slices.Contains(m.named, method) || method != "" && !hasLowerCase(method))
	}
	return len(m.named) == 0 || slices.Contains(m.named, method)
}

func hasLowerCase(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return 'a' <= r && r <= 'z' }) >= 0
}

type valueKind int

const (
	present valueKind = iota
	absent
	exact
	prefix
	suffix
	contains
	regex
)

// valueMatcher matches the value of a header or of a query parameter.
type valueMatcher struct {
	name, text string
	kind       valueKind
	folds      bool // the case of ASCII letters does not count; text is in lower case
	regex      *regexp.Regexp
}

func newValueMatchers(field string, messages []*nodev1.ValueMatch) ([]valueMatcher, error) {
	var errs []error
	var matchers []valueMatcher
	for n, message := range messages {
		matcher, err := newValueMatcher(message)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s[%d] %q: %w", field, n, message.GetName(), err))
		}
		matchers = append(matchers, matcher)
	}
	return matchers, errors.Join(errs...)
}

func newValueMatcher(message *nodev1.ValueMatch) (m valueMatcher, err error) {
	m = valueMatcher{name: message.GetName(), folds: message.GetIgnoreCase()}
	if m.name == "" {
		return m, errors.New("name: expected one, got none")
	}
	switch match := message.GetMatch().(type) {
	case *nodev1.ValueMatch_Present:
		if m.kind = absent; match.Present {
			m.kind = present
		}
	case *nodev1.ValueMatch_Exact:
		m.kind, m.text = exact, match.Exact
	case *nodev1.ValueMatch_Prefix:
		m.kind, m.text = prefix, match.Prefix
	case *nodev1.ValueMatch_Suffix:
		m.kind, m.text = suffix, match.Suffix
	case *nodev1.ValueMatch_Contains:
		m.kind, m.text = contains, match.Contains
	case *nodev1.ValueMatch_Regex:
		m.kind = regex
		m.regex, err = compileWhole(match.Regex)
	default:
		err = errors.New("match: expected one, got none")
	}
	if m.folds {
		m.text = toLower(m.text)
	}
	return m, err
}

// matchesHeader reports whether one of the lines matches, or whether there is none, for absent.
func (m *valueMatcher) matchesHeader(r *Request) bool {
	if m.name[0] == ':' {
		return m.matches(r.pseudoHeader(m.name))
	}
	for n := range r.Headers {
		if r.Headers[n].Name != m.name {
			continue
		}
		if m.kind == absent || m.matches(r.Headers[n].Value, true) {
			return m.kind != absent
		}
	}
	return m.kind == absent
}

func (m *valueMatcher) matchesQuery(path string) bool {
	return m.matches(firstParameter(path, m.name))
}

func (m *valueMatcher) matches(value string, found bool) bool {
	if m.kind <= absent || !found {
		return m.kind <= absent && found == (m.kind == present)
	}
	if m.folds {
		value = toLower(value)
	}
	switch m.kind {
	case exact:
		return value == m.text
	case prefix:
		return strings.HasPrefix(value, m.text)
	case suffix:
		return strings.HasSuffix(value, m.text)
	case contains:
		return strings.Contains(value, m.text)
	default: // Envoy's RE2 matches no text that is not UTF-8
		return utf8.ValidString(value) && m.regex.MatchString(value)
	}
}

func (r *Request) pseudoHeader(name string) (value string, found bool) {
	switch name {
	case ":path":
		return r.Path, true
	case ":method":
		return r.Method, true
	case ":authority":
		return r.Authority, true
	case ":scheme":
		return r.Scheme, true
	default:
		return "", false
	}
}

// firstParameter returns the first query parameter of this name, as it was sent.
func firstParameter(path, name string) (value string, found bool) {
	_, query, _ := strings.Cut(path, "?")
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if key, value, _ := strings.Cut(pair, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// toLower changes ASCII letters alone.
func toLower(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return 'A' <= r && r <= 'Z' }) < 0 {
		return text
	}
	lower := []byte(text)
	for n, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[n] = c + 'a' - 'A'
		}
	}
	return string(lower)
}
