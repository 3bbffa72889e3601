package clientcert

import (
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
)

// keywords are the names of attribute types: those of RFC 4514, 3, and some that certificates have and whose type would
// otherwise be a number.
var keywords = map[string]string{
	"2.5.4.3": "CN", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.6": "C", "2.5.4.9": "STREET",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
	"2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.12": "title", "2.5.4.42": "GN", "1.2.840.113549.1.9.1": "emailAddress",
}

// distinguishedName writes a name as RFC 4514 does: the last part first, so "CN=alice,O=Example".
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
		for m, one := range part {
			if m > 0 {
				b.WriteByte('+')
			}
			writeAttribute(&b, one)
		}
	}
	return b.String(), nil
}

// attributeSET is a RelativeDistinguishedName; by the end of the name encoding/asn1 knows that it is a SET.
type attributeSET []attribute

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

func writeAttribute(b *strings.Builder, one attribute) {
	var text string
	_, err := asn1.Unmarshal(one.Value.FullBytes, &text)
	if keyword := keywords[one.Type.String()]; keyword != "" && err == nil {
		b.WriteString(keyword + "=")
		writeEscaped(b, text)
		return
	}
	b.WriteString(one.Type.String() + "=#" + hex.EncodeToString(one.Value.FullBytes))
}

// writeEscaped escapes what RFC 4514, 2.4 says, and control characters.
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
