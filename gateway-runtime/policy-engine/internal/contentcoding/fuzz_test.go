package contentcoding_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"gatewright.dev/policy-engine/internal/contentcoding"
)

// FuzzDecoder: any bytes, in pieces of any size, end in the same way and decode to the same as in one piece, and
// failures are an Error. Decoded bytes, encoded again, decode to the same.
func FuzzDecoder(f *testing.F) {
	for n, format := range formats {
		f.Add(format.encode([]byte("some text, some text")), uint8(n), uint8(3))
		f.Add(format.encode(bytes.Repeat([]byte{0}, 100_000)), uint8(n), uint8(200))
	}
	f.Fuzz(func(t *testing.T, encoded []byte, which, size uint8) {
		codings := formats[int(which)%len(formats)].codings
		whole, wholeErr := decode(codings, encoded)
		cut, cutErr := decode(codings, slices.Collect(slices.Chunk(encoded, int(size)+1))...)
		if (wholeErr == nil) != (cutErr == nil) {
			t.Fatalf("at once %v, in pieces %v", wholeErr, cutErr)
		}
		if wholeErr != nil {
			if known := (*contentcoding.Error)(nil); !errors.As(wholeErr, &known) {
				t.Fatalf("expected an Error, got %v", wholeErr)
			}
			return
		}
		if !bytes.Equal(whole, cut) {
			t.Fatalf("at once %d bytes, in pieces %d", len(whole), len(cut))
		}
		e := contentcoding.NewEncoder(codings)
		defer e.Close()
		if got, err := decode(codings, e.Encode(whole, true)); err != nil || !bytes.Equal(got, whole) {
			t.Fatalf("encoded again: %d of %d bytes, %v", len(got), len(whole), err)
		}
	})
}
