package mtlsauth

import (
	"encoding/hex"
	"slices"
	"strings"
)

// attributes says whether a distinguished name has exactly these values of each of these attributes.
func attributes(wanted map[string]values) func(dn string) bool {
	if wanted == nil {
		return nil
	}
	return func(dn string) bool {
		got, ok := parse(dn)
		if !ok {
			return false
		}
		for name, all := range wanted {
			if !slices.Equal(got[name], all) {
				return false
			}
		}
		return true
	}
}

// parse reads a distinguished name as RFC 4514 writes it: the values of each attribute, in order. It is false where the
// text is none. A value that is no text, which RFC 4514 writes as "#" and hex, is like no text.
func parse(dn string) (map[string]values, bool) {
	found := map[string]values{}
	for rest := dn; rest != ""; {
		name, behind, ok := strings.Cut(rest, "=")
		if !ok || name == "" {
			return nil, false
		}
		value, end, ok := unescaped(behind)
		if !ok || end == len(behind)-1 { // a separator with nothing behind it
			return nil, false
		}
		if strings.HasPrefix(behind, "#") {
			value = noText
		}
		found[name] = append(found[name], value)
		rest = behind[min(end+1, len(behind)):]
	}
	return found, true
}

// noText stands for a value that is none; no attribute is asked for a control character.
const noText = "\x00"

// unescaped is the value that text begins with, and where its separator, "," or "+", stands; the text's length: nowhere.
func unescaped(text string) (value string, end int, ok bool) {
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
