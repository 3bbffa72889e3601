package template

import (
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// HeaderValue encodes a value for a header: control characters except tabs are percent-encoded, so that the value cannot end it.
func HeaderValue(value string) string {
	return encode(value, func(c byte) bool { return c >= ' ' && c != 0x7f || c == '\t' })
}

// URIComponent encodes a value for a segment of a path, or a query: all but letters, digits and -._~ is percent-encoded.
func URIComponent(value string) string { return encode(value, isUnreserved) }

// DecodedForm decodes a query's name or value: "+" and "%20" are spaces; invalid encodings stay unchanged.
func DecodedForm(text string) string {
	return v1alpha.PercentDecoded(strings.ReplaceAll(text, "+", " "))
}

func isUnreserved(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func encode(value string, stays func(c byte) bool) string {
	at := 0
	for at < len(value) && stays(value[at]) {
		at++
	}
	if at == len(value) {
		return value
	}
	const hex = "0123456789ABCDEF"
	result := make([]byte, at, len(value)+8)
	copy(result, value)
	for ; at < len(value); at++ {
		if c := value[at]; stays(c) {
			result = append(result, c)
		} else {
			result = append(result, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(result)
}
