package main

import (
	"fmt"
	"strings"
)

// header is a name and a value. As a flag it can be given many times: -header "Name: value".
type header struct{ name, value string }

type headerFlag []header

// String is what the flag package shows as the default.
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

// peeker is the headers of a request or of a response.
type peeker interface{ Peek(name string) []byte }

// missing names the first of the wanted headers that is not there with its value; nil when all are.
func missing(wanted []header, got peeker) error {
	for _, each := range wanted {
		if value := got.Peek(each.name); string(value) != each.value {
			return fmt.Errorf("expected header %s: %s, got %q", each.name, each.value, value)
		}
	}
	return nil
}
