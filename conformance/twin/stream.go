package twin

import (
	"bytes"
	"context"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

type stream struct {
	step
	Prepends       *text    `json:"prepends"`
	Replaces       []text   `json:"replaces"` // one by the other
	Holds          bool     `json:"holds"`
	Drops          bool     `json:"drops"`
	After          int      `json:"after"`
	Rejects        *action  `json:"rejects"`
	Ends           bool     `json:"ends"`
	Appends        text     `json:"appends"`
	SetTrailers    []line   `json:"setTrailers"`
	RemoveTrailers []string `json:"removeTrailers"`
}

// given is what a stream is given beside its chunks, and what these were.
type given struct {
	metadata *v1alpha.ExchangeMetadata
	trailers *v1alpha.Trailers
	find     func(name string) (any, error)
	received []byte
}

func (s stream) of(ctx context.Context, given *given, chunks v1alpha.Chunks) v1alpha.Chunks {
	return inTurn(s.begins(ctx, given), s.passes(ctx, s.changed(given.noting(chunks))), s.finishes(given))
}

func (s stream) begins(ctx context.Context, given *given) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		err := s.write(given.metadata)
		if err == nil && s.After == 0 {
			err = s.fails(ctx)
		}
		switch {
		case err != nil:
			yield(nil, err)
		case s.Prepends != nil:
			yield(octetsOf(string(*s.Prepends)), nil)
		}
	}
}

func (s stream) passes(ctx context.Context, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		passed := 0
		for chunk, err := range chunks {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, part := range cut(chunk, s.After-passed) {
				passed += len(part)
				if !s.Drops && !yield(part, nil) {
					return
				}
				if passed != s.After {
					continue
				}
				if err := s.fails(ctx); err != nil {
					yield(nil, err)
					return
				}
				if s.Ends {
					return
				}
			}
		}
	}
}

func (s stream) finishes(given *given) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		given.trailers.Set = append(given.trailers.Set, headers(s.SetTrailers)...)
		given.trailers.Remove = append(given.trailers.Remove, s.RemoveTrailers...)
		saw, err := look(s.Sees, given.see)
		if saw != "" {
			saw = "\nsaw: " + saw
		}
		if out := string(octetsOf(string(s.Appends))) + saw; err != nil || out != "" {
			yield([]byte(out), err)
		}
	}
}

// fails waits, and ends the stream.
func (s stream) fails(ctx context.Context) error {
	if err := s.end(ctx); err != nil || s.Rejects == nil {
		return err
	}
	return &v1alpha.Reject{Response: s.Rejects.answer("")}
}

func (s stream) changed(chunks v1alpha.Chunks) v1alpha.Chunks {
	if s.Holds {
		chunks = gathered(chunks)
	}
	if len(s.Replaces) == 2 {
		chunks = replaced(chunks, octetsOf(string(s.Replaces[0])), octetsOf(string(s.Replaces[1])))
	}
	return chunks
}

func (g *given) noting(chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		for chunk, err := range chunks {
			g.received = append(g.received, chunk...)
			if !yield(chunk, err) {
				return
			}
		}
	}
}

func (g *given) see(name string) (any, error) {
	if name == "received" {
		return latin1(string(g.received)), nil
	}
	of, found := strings.CutPrefix(name, "trailer.")
	if !found {
		return g.find(name)
	}
	values := []string{}
	for value := range g.trailers.Headers.Values(of) {
		values = append(values, latin1(value))
	}
	return values, nil
}

// inTurn is one after the other, until one has failed.
func inTurn(all ...v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		for _, chunks := range all {
			for chunk, err := range chunks {
				if !yield(chunk, err) || err != nil {
					return
				}
			}
		}
	}
}

func gathered(chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		var whole []byte
		for chunk, err := range chunks {
			if err != nil {
				yield(nil, err)
				return
			}
			whole = append(whole, chunk...)
		}
		if len(whole) > 0 {
			yield(whole, nil)
		}
	}
}

// replaced keeps back what may be the beginning of what it replaces.
func replaced(chunks v1alpha.Chunks, from, to []byte) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		var held []byte
		for chunk, err := range chunks {
			if err != nil {
				yield(nil, err)
				return
			}
			held = append(held, chunk...)
			var out []byte
			for at := bytes.Index(held, from); at >= 0; at = bytes.Index(held, from) {
				out = append(append(out, held[:at]...), to...)
				held = held[at+len(from):]
			}
			final := max(0, len(held)-len(from)+1)
			out = append(out, held[:final]...)
			held = bytes.Clone(held[final:])
			if len(out) > 0 && !yield(out, nil) {
				return
			}
		}
		if len(held) > 0 {
			yield(held, nil)
		}
	}
}

// cut is a chunk in two parts where at is inside of it.
func cut(chunk []byte, at int) [][]byte {
	if at <= 0 || at >= len(chunk) {
		return [][]byte{chunk}
	}
	return [][]byte{chunk[:at:at], chunk[at:]}
}
