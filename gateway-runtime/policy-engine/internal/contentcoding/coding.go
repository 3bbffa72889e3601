// Package contentcoding decodes and encodes bodies with content codings (RFC 9110, 8.4) piece by piece, in constant
// memory: a piece is decoded, or encoded and flushed, without waiting for the next one.
//
// It knows no messages, and only the values of two headers: content-encoding and accept-encoding.
package contentcoding

import (
	"fmt"
	"iter"
	"strings"
)

// Coding is a content coding that this package decodes and encodes.
type Coding uint8

// The codings, by their IANA names.
const (
	Gzip    Coding = iota // RFC 1952
	Deflate               // zlib, RFC 1950. Raw deflate, RFC 1951, which some senders use instead, is decoded too
	Brotli                // RFC 7932: a window of at most 16 MiB
	Zstd                  // RFC 8878: a window of at most 8 MiB, as RFC 9659 requires
)

// identity is the name for no coding (RFC 9110, 12.5.3).
const identity = "identity"

// MaxCodings is the number of codings that a body may have, one over the other.
const MaxCodings = 4

var names = [...]string{Gzip: "gzip", Deflate: "deflate", Brotli: "br", Zstd: "zstd"}

func (c Coding) String() string { return names[c] }

// ParseCodings reads the lines of content-encoding: the codings in the order in which they were applied, without
// identity. An unknown coding is an error that lists the known ones.
func ParseCodings(lines iter.Seq[string]) ([]Coding, error) {
	var codings []Coding
	for name := range elements(lines) {
		if strings.EqualFold(name, identity) {
			continue
		}
		coding, known := parseCoding(name)
		if !known {
			return nil, fmt.Errorf("content-encoding: expected %s or identity, got %.40q", strings.Join(names[:], ", "), name)
		}
		if codings = append(codings, coding); len(codings) > MaxCodings {
			return nil, fmt.Errorf("content-encoding: expected at most %d codings, got more", MaxCodings)
		}
	}
	return codings, nil
}

// Format returns the value of content-encoding for codings.
func Format(codings []Coding) string {
	applied := make([]string, len(codings))
	for n, coding := range codings {
		applied[n] = coding.String()
	}
	return strings.Join(applied, ", ")
}

func parseCoding(name string) (Coding, bool) {
	for coding, known := range names {
		if strings.EqualFold(name, known) {
			return Coding(coding), true
		}
	}
	return Gzip, strings.EqualFold(name, "x-gzip") // RFC 9110, 8.4.1.3
}

// elements yields the elements of a header's lists, trimmed, without empty ones.
func elements(lines iter.Seq[string]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range lines {
			for element := range strings.SplitSeq(line, ",") {
				if element = strings.Trim(element, " \t"); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}
