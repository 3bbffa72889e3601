package redaction

import (
	"bytes"
	"encoding/xml"
	"strings"
)

// xml redacts a document, or its beginning: elements and attributes by their local names.
func (l *List) xml(body []byte) ([]byte, int) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	decoder.Strict = false
	var shown []byte
	total, inside := 0, 0 // inside: the depth within a secret element
	for begin := int64(0); ; {
		token, err := decoder.RawToken()
		raw := body[begin:decoder.InputOffset()]
		if err != nil {
			if begin < int64(len(body)) && inside == 0 {
				return append(shown, Mark...), total + 1
			}
			return shown, total
		}
		begin = decoder.InputOffset()
		end, ends := token.(xml.EndElement)
		if ends && len(raw) == 0 && !bytes.HasSuffix(shown, []byte("/>")) { // of <name/>, which was rewritten
			raw = []byte("</" + qualified(end.Name) + ">")
		}
		start, starts := token.(xml.StartElement)
		switch {
		case inside > 0 && starts:
			inside++
		case inside > 0 && ends:
			if inside--; inside == 0 {
				shown = append(shown, raw...)
			}
		case inside > 0:
		case starts && l.field(start.Name.Local):
			inside, total = 1, total+1
			shown = append(append(shown, openTag(start, nil)...), Mark...)
		case starts:
			tag, count := l.startTag(start, raw)
			shown, total = append(shown, tag...), total+count
		default:
			text, count := l.Text(string(raw))
			shown, total = append(shown, text...), total+count
		}
	}
}

// startTag returns the tag unchanged, or rewritten if one of its attributes is secret.
func (l *List) startTag(start xml.StartElement, raw []byte) ([]byte, int) {
	total := 0
	for i, attribute := range start.Attr {
		shown, count := Mark, 1
		if !l.field(attribute.Name.Local) {
			shown, count = l.Text(attribute.Value)
		}
		start.Attr[i].Value = shown
		total += count
	}
	if total == 0 {
		return raw, 0
	}
	return openTag(start, start.Attr), total
}

func openTag(start xml.StartElement, attributes []xml.Attr) []byte {
	var tag bytes.Buffer
	tag.WriteString("<" + qualified(start.Name))
	for _, attribute := range attributes {
		tag.WriteString(" " + qualified(attribute.Name) + `="`)
		_ = xml.EscapeText(&tag, []byte(attribute.Value)) // a buffer does not fail
		tag.WriteByte('"')
	}
	tag.WriteByte('>')
	return tag.Bytes()
}

func qualified(name xml.Name) string {
	return strings.TrimPrefix(name.Space+":"+name.Local, ":")
}
