package v1alpha

import (
	"iter"
	"strings"
)

// Header is one header line. Name is in lower case; Value has the bytes of the wire, whatever they are.
type Header struct{ Name, Value string }

// Headers is a header list in wire order, without pseudo-headers. A name may occur in it more than once.
type Headers []Header

// Get returns the first value of name, in any case, or "". All values go upstream: for a decision that depends on a header,
// use Values, and refuse more than one.
func (h Headers) Get(name string) string {
	for value := range h.Values(name) {
		return value
	}
	return ""
}

// Has reports whether the list contains name.
func (h Headers) Has(name string) bool {
	for range h.Values(name) {
		return true
	}
	return false
}

// Values yields the values of name, in any case, in order.
func (h Headers) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, header := range h {
			if strings.EqualFold(header.Name, name) && !yield(header.Value) {
				return
			}
		}
	}
}
