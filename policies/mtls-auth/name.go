package mtlsauth

import (
	"encoding/hex"
	"slices"
	"strings"
)

// matchAttributes returns a function that reports whether a distinguished name has exactly the required values of each
// attribute.
func matchAttributes(required map[string]values) func(dn string) bool {
	if required == nil {
		return nil
	}
	return func(dn string) bool {
		got, ok := parse(dn)
		if !ok {
			return false
		}
		for name, expected := range required {
			if !slices.Equal(got[name], expected) {
				return false
			}
		}
		return true
	}
}

// parse returns the values of each attribute of a distinguished name (RFC 4514), in order, or false for an invalid name. A
// value that is no text, which RFC 4514 writes as "#" and hex, becomes noText.
func parse(dn string) (map[string]values, bool) {
	result := map[string]values{}
	for rest := dn; rest != ""; {
		name, after, ok := strings.Cut(rest, "=")
		if !ok || name == "" {
			return nil, false
		}
		value, end, ok := unescape(after)
		if !ok || end == len(after)-1 { // a separator at the end
			return nil, false
		}
		if strings.HasPrefix(after, "#") {
			value = noText
		}
		result[name] = append(result[name], value)
		rest = after[min(end+1, len(after)):]
	}
	return result, true
}

// noText stands for a value that is no text; no rule can contain a control character.
const noText = "\x00"

// unescape returns the value at the beginning of text, and the index of its separator, "," or "+", or the text's length.
func unescape(text string) (value string, end int, ok bool) {
	var b strings.Builder
	for at := 0; at < len(text); at++ {
		switch c := text[at]; c {
		case ',', '+':
			return b.String(), at, true
		case '\\':
			at++
			if at == len(text) {
				return "", 0, false
			}
			if at+1 < len(text) {
				if raw, err := hex.DecodeString(text[at : at+2]); err == nil {
					b.Write(raw)
					at++
					continue
				}
			}
			b.WriteByte(text[at])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), len(text), true
}
