package main

import (
	"fmt"
	"strings"
)

// header is a name and a value. As a flag it may be repeated: -header "Name: value".
type header struct{ name, value string }

type headerFlag []header

// String returns the default that the flag package shows.
func (f *headerFlag) String() string { return fmt.Sprint([]header(*f)) }

// Set adds one header, "Name: value".
func (f *headerFlag) Set(text string) error {
	name, value, found := strings.Cut(text, ":")
	if !found || name == "" {
		return fmt.Errorf("expected \"Name: value\", got %q", text)
	}
	*f = append(*f, header{name, strings.TrimSpace(value)})
	return nil
}

// peeker reads headers of a request or of a response.
type peeker interface{ Peek(name string) []byte }

// checkHeaders returns an error that names the first wanted header without its value.
func checkHeaders(wanted []header, got peeker) error {
	for _, h := range wanted {
		if value := got.Peek(h.name); string(value) != h.value {
			return fmt.Errorf("expected header %s: %s, got %q", h.name, h.value, value)
		}
	}
	return nil
}
