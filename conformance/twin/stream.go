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
	Replaces       []text   `json:"replaces"` // the first text by the second
	Holds          bool     `json:"holds"`
	Drops          bool     `json:"drops"`
	After          int      `json:"after"`
	Rejects        *action  `json:"rejects"`
	Ends           bool     `json:"ends"`
	Appends        text     `json:"appends"`
	SetTrailers    []line   `json:"setTrailers"`
	RemoveTrailers []string `json:"removeTrailers"`
}

// streamContext is the context of a direction's stream, with the chunks that it has received so far.
type streamContext struct {
	metadata *v1alpha.ExchangeMetadata
	trailers *v1alpha.Trailers
	find     func(name string) (any, error)
	received []byte
}

func (s stream) run(ctx context.Context, sc *streamContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return concatenate(s.begin(ctx, sc), s.pass(ctx, s.transform(sc.record(chunks))), s.finish(sc))
}

func (s stream) begin(ctx context.Context, sc *streamContext) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		err := s.write(sc.metadata)
		if err == nil && s.After == 0 {
			err = s.fail(ctx)
		}
		switch {
		case err != nil:
			yield(nil, err)
		case s.Prepends != nil:
			yield(encodeLatin1(string(*s.Prepends)), nil)
		}
	}
}

func (s stream) pass(ctx context.Context, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		passed := 0
		for chunk, err := range chunks {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, part := range split(chunk, s.After-passed) {
				passed += len(part)
				if !s.Drops && !yield(part, nil) {
					return
				}
				if passed != s.After {
					continue
				}
				if err := s.fail(ctx); err != nil {
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

func (s stream) finish(sc *streamContext) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		sc.trailers.Set = append(sc.trailers.Set, headers(s.SetTrailers)...)
		sc.trailers.Remove = append(sc.trailers.Remove, s.RemoveTrailers...)
		saw, err := encodeSeen(s.Sees, sc.lookUp)
		if saw != "" {
			saw = "\nsaw: " + saw
		}
		if out := string(encodeLatin1(string(s.Appends))) + saw; err != nil || out != "" {
			yield([]byte(out), err)
		}
	}
}

// fail waits, then ends the stream if the script says so.
func (s stream) fail(ctx context.Context) error {
	if err := s.waitOrRaise(ctx); err != nil || s.Rejects == nil {
		return err
	}
	return &v1alpha.Reject{Response: s.Rejects.answer("")}
}

func (s stream) transform(chunks v1alpha.Chunks) v1alpha.Chunks {
	if s.Holds {
		chunks = joinChunks(chunks)
	}
	if len(s.Replaces) == 2 {
		chunks = replace(chunks, encodeLatin1(string(s.Replaces[0])), encodeLatin1(string(s.Replaces[1])))
	}
	return chunks
}

func (sc *streamContext) record(chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		for chunk, err := range chunks {
			sc.received = append(sc.received, chunk...)
			if !yield(chunk, err) {
				return
			}
		}
	}
}

func (sc *streamContext) lookUp(name string) (any, error) {
	if name == "received" {
		return decodeLatin1(string(sc.received)), nil
	}
	of, found := strings.CutPrefix(name, "trailer.")
	if !found {
		return sc.find(name)
	}
	values := []string{}
	for value := range sc.trailers.Headers.Values(of) {
		values = append(values, decodeLatin1(value))
	}
	return values, nil
}

// concatenate returns the chunks of all streams in order, up to the first error.
func concatenate(all ...v1alpha.Chunks) v1alpha.Chunks {
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

func joinChunks(chunks v1alpha.Chunks) v1alpha.Chunks {
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

// replace holds back the end of a chunk that may be the beginning of from.
func replace(chunks v1alpha.Chunks, from, to []byte) v1alpha.Chunks {
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

// split returns the chunk in two parts if at lies inside of it.
func split(chunk []byte, at int) [][]byte {
	if at <= 0 || at >= len(chunk) {
		return [][]byte{chunk}
	}
	return [][]byte{chunk[:at:at], chunk[at:]}
}
