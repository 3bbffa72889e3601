package contentcoding

import (
	"iter"
	"slices"
	"strconv"
	"strings"
)

// Accepted are the content codings that a client accepts, by accept-encoding (RFC 9110, 12.5.3).
type Accepted struct {
	named    []string // elements whose coding can be decoded, or that are identity, as the client wrote them
	accepts  []Coding
	refuses  []Coding
	identity bool
	others   bool // "*": the codings that are not named
}

// ParseAccepted reads the lines of accept-encoding. Without one no coding is applied: by the letter of RFC 9110 the
// client accepts any, but clients that want one say so.
func ParseAccepted(lines iter.Seq[string]) Accepted {
	a := Accepted{identity: true}
	identityNamed := false
	for element := range elements(lines) {
		name, parameters, _ := strings.Cut(element, ";")
		name = strings.TrimRight(name, " \t")
		wanted := weight(parameters) > 0
		coding, known := parseCoding(name)
		switch {
		case known && wanted:
			a.accepts = append(a.accepts, coding)
		case known:
			a.refuses = append(a.refuses, coding)
		case strings.EqualFold(name, identity):
			a.identity, identityNamed = wanted, true
		case name == "*":
			a.others = wanted
			a.identity = a.identity && (wanted || identityNamed)
			continue
		default:
			continue
		}
		a.named = append(a.named, element)
	}
	return a
}

// Identity reports whether the client accepts a body without a coding.
func (a Accepted) Identity() bool { return a.identity }

// All reports whether the client accepts a body with all these codings.
func (a Accepted) All(codings []Coding) bool {
	for _, coding := range codings {
		if slices.Contains(a.refuses, coding) || !a.others && !slices.Contains(a.accepts, coding) {
			return false
		}
	}
	return true
}

// Decodable is the accept-encoding with the codings that both the client accepts and this package decodes; "identity"
// if there are none.
func (a Accepted) Decodable() string {
	offered := slices.Clone(a.named)
	if a.others {
		for n, name := range names {
			if coding := Coding(n); !slices.Contains(a.accepts, coding) && !slices.Contains(a.refuses, coding) {
				offered = append(offered, name)
			}
		}
	}
	if len(a.accepts) == 0 && !a.others {
		return identity
	}
	return strings.Join(offered, ", ")
}

// weight is the q of an element's parameters; 1 if it is missing or invalid.
func weight(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(strings.Trim(name, " \t"), "q") {
			if q, err := strconv.ParseFloat(strings.Trim(value, " \t"), 64); err == nil {
				return q
			}
		}
	}
	return 1
}
