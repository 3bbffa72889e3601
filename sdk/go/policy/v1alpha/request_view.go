package v1alpha

import "strings"

// Host returns the host of Authority in its normal form for decisions: in lower case, without port, without the final
// dot of a full name, an IPv6 address without brackets. Routes use the same form.
func (r *RequestContext) Host() string {
	host := r.Authority
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		host = host[:colon]
	}
	host = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ".")
	return lowerASCII(host)
}

func lowerASCII(text string) string {
	if strings.IndexFunc(text, isUpper) < 0 {
		return text
	}
	lower := []byte(text)
	for n, character := range lower {
		if isUpper(rune(character)) {
			lower[n] = character + 'a' - 'A'
		}
	}
	return string(lower)
}

func isUpper(character rune) bool { return character >= 'A' && character <= 'Z' }

// PathSegments returns the parts of Path between its slashes, percent-decoded, none of them empty.
func (r *RequestContext) PathSegments() []string {
	segments := make([]string, 0, strings.Count(r.Path, "/"))
	for segment := range strings.SplitSeq(r.Path, "/") {
		if segment != "" {
			segments = append(segments, PercentDecoded(segment))
		}
	}
	return segments
}
