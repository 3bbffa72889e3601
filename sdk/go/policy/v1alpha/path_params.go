package v1alpha

import "strings"

// PathParam is a parameter of an operation's path template.
type PathParam struct {
	// Name is the name in the template: "id" of /orders/{id}.
	Name string
	// Encoded is the segment of the client's path, with its percent-encoding. It is never "".
	Encoded string
}

// PathParams are the parameters of an operation's path template, in the template's order. A final `*` is not one of them.
type PathParams []PathParam

// Get returns the parameter's value, percent-decoded; "" if the template has none of that name. It may contain any byte
// that a path may encode, except "/" and NUL, which the gateway refuses.
func (p PathParams) Get(name string) string { return PercentDecoded(p.Encoded(name)) }

// Encoded returns the parameter's value as written in the client's path; "" if the template has none of that name.
func (p PathParams) Encoded(name string) string {
	for n := range p {
		if p[n].Name == name {
			return p[n].Encoded
		}
	}
	return ""
}

// Has reports whether the template has a parameter of that name.
func (p PathParams) Has(name string) bool { return p.Encoded(name) != "" }

// PercentDecoded decodes %XX (RFC 3986, 2.1), and leaves invalid encodings unchanged.
func PercentDecoded(text string) string {
	if strings.IndexByte(text, '%') < 0 {
		return text
	}
	decoded := make([]byte, 0, len(text))
	for n := 0; n < len(text); n++ {
		if text[n] == '%' && n+2 < len(text) && isHex(text[n+1]) && isHex(text[n+2]) {
			decoded = append(decoded, fromHex(text[n+1])<<4|fromHex(text[n+2]))
			n += 2
			continue
		}
		decoded = append(decoded, text[n])
	}
	return string(decoded)
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func fromHex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
