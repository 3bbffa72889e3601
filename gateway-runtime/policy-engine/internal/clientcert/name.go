package clientcert

import (
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
)

// keywords are the names of attribute types: those of RFC 4514, 3, and further ones that occur in certificates and would
// otherwise be written as numbers.
var keywords = map[string]string{
	"2.5.4.3": "CN", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.6": "C", "2.5.4.9": "STREET",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
	"2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.12": "title", "2.5.4.42": "GN", "1.2.840.113549.1.9.1": "emailAddress",
}

// distinguishedName formats a name by RFC 4514: the last part first, as in "CN=alice,O=Example".
func distinguishedName(der []byte) (string, error) {
	var parts []attributeSET
	if _, err := asn1.Unmarshal(der, &parts); err != nil {
		return "", err
	}
	slices.Reverse(parts)
	var b strings.Builder
	for n, part := range parts {
		if n > 0 {
			b.WriteByte(',')
		}
		for m, attribute := range part {
			if m > 0 {
				b.WriteByte('+')
			}
			writeAttribute(&b, attribute)
		}
	}
	return b.String(), nil
}

// attributeSET is a RelativeDistinguishedName; encoding/asn1 recognizes a SET by the suffix of the type's name.
type attributeSET []attribute

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

func writeAttribute(b *strings.Builder, attribute attribute) {
	var text string
	_, err := asn1.Unmarshal(attribute.Value.FullBytes, &text)
	if keyword := keywords[attribute.Type.String()]; keyword != "" && err == nil {
		b.WriteString(keyword + "=")
		writeEscaped(b, text)
		return
	}
	b.WriteString(attribute.Type.String() + "=#" + hex.EncodeToString(attribute.Value.FullBytes))
}

// writeEscaped escapes the characters of RFC 4514, 2.4, and control characters.
func writeEscaped(b *strings.Builder, text string) {
	for at, r := range text {
		edge := r == ' ' && (at == 0 || at == len(text)-1) || r == '#' && at == 0
		switch {
		case r < ' ' || r == 0x7f:
			b.WriteString(`\` + hex.EncodeToString([]byte{byte(r)}))
		case edge || strings.ContainsRune(`"+,;<>\`, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
}
