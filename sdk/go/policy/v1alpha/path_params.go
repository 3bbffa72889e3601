package v1alpha

import "strings"

// PathParam is a parameter of an operation's path template.
type PathParam struct {
	// Name is as the template has it: "id" of /orders/{id}.
	Name string
	// Encoded is the segment of the client's path, percent-encoded as it came. It is never "".
	Encoded string
}

// PathParams are the parameters of an operation's path template, in their order there. A `*` at its end is none.
type PathParams []PathParam

// Get is the parameter's value, percent-decoded; "" where the template has none of that name. It may hold any byte
// that a path may have encoded: not "/" and NUL, which the gateway refuses.
func (p PathParams) Get(name string) string { return PercentDecoded(p.Encoded(name)) }

// Encoded is the parameter's value as it stands in the client's path; "" where the template has none of that name.
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

// PercentDecoded decodes %XX (RFC 3986, 2.1), and leaves what is no encoding as it is.
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
