package contentcoding_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/contentcoding"
	"gatewright.dev/policy-engine/internal/property"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// flusher is another implementation's encoder: all flushed data must come out.
type flusher interface {
	io.WriteCloser
	Flush() error
}

// format is a format of bodies.
type format struct {
	name    string
	codings []contentcoding.Coding
	writer  func(to io.Writer) flusher
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

var formats = []format{
	{"gzip", []contentcoding.Coding{contentcoding.Gzip}, func(to io.Writer) flusher { return gzip.NewWriter(to) }},
	{"gzip stored", []contentcoding.Coding{contentcoding.Gzip}, func(to io.Writer) flusher { return must(gzip.NewWriterLevel(to, 0)) }},
	{"zlib", []contentcoding.Coding{contentcoding.Deflate}, func(to io.Writer) flusher { return zlib.NewWriter(to) }},
	{"raw deflate", []contentcoding.Coding{contentcoding.Deflate}, func(to io.Writer) flusher { return must(flate.NewWriter(to, 6)) }},
	{"br", []contentcoding.Coding{contentcoding.Brotli}, func(to io.Writer) flusher { return brotli.NewWriterLevel(to, 5) }},
	{"br fast", []contentcoding.Coding{contentcoding.Brotli}, func(to io.Writer) flusher { return brotli.NewWriterLevel(to, 0) }},
	{"zstd", []contentcoding.Coding{contentcoding.Zstd}, func(to io.Writer) flusher { return must(zstd.NewWriter(to)) }},
	{"gzip in br", []contentcoding.Coding{contentcoding.Gzip, contentcoding.Brotli}, unexpectedEOF(
		func(to io.Writer) flusher { return gzip.NewWriter(to) }, func(to io.Writer) flusher { return brotli.NewWriterLevel(to, 4) })},
	{"zstd in zlib", []contentcoding.Coding{contentcoding.Zstd, contentcoding.Deflate}, unexpectedEOF(
		func(to io.Writer) flusher { return must(zstd.NewWriter(to)) }, func(to io.Writer) flusher { return zlib.NewWriter(to) })},
}

type nested struct{ inner, outer flusher }

func unexpectedEOF(inner, outer func(io.Writer) flusher) func(io.Writer) flusher {
	return func(to io.Writer) flusher {
		out := outer(to)
		return nested{inner(out), out}
	}
}

func (n nested) Write(p []byte) (int, error) { return n.inner.Write(p) }
func (n nested) Flush() error                { return errors.Join(n.inner.Flush(), n.outer.Flush()) }
func (n nested) Close() error                { return errors.Join(n.inner.Close(), n.outer.Close()) }

func (f format) encode(plain []byte) []byte {
	var encoded bytes.Buffer
	w := f.writer(&encoded)
	must(w.Write(plain))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return encoded.Bytes()
}

func eachFormat(t *testing.T, test func(t *testing.T, f format)) {
	t.Helper()
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// pieces returns the parts, one by one.
func pieces(parts ...[]byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(parts) == 0 {
			return nil, io.EOF
		}
		part := parts[0]
		parts = parts[1:]
		return part, nil
	}
}

// decode returns the decoded parts, and the error; nil: success.
func decode(codings []contentcoding.Coding, parts ...[]byte) ([]byte, error) {
	d := contentcoding.NewDecoder(codings, pieces(parts...))
	defer d.Close()
	var plain []byte
	for {
		piece, err := d.Next()
		plain = append(plain, piece...)
		if errors.Is(err, io.EOF) {
			return plain, nil
		}
		if err != nil {
			return plain, err
		}
		if len(piece) == 0 {
			return plain, errors.New("an empty piece")
		}
	}
}

// drawText draws text like that of bodies, with repetitions.
func drawText(t *rapid.T) []byte {
	var text bytes.Buffer
	words := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 8).Draw(t, "words")
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, 1<<20), 0, 400).Draw(t, "text") {
		text.Write(words[n%len(words)])
		if n%7 == 0 {
			fmt.Fprintf(&text, `{"id": %d},`, n)
		}
	}
	return text.Bytes()
}

func drawCuts(t *rapid.T, whole []byte) [][]byte {
	var parts [][]byte
	for len(whole) > 0 {
		size := min(rapid.OneOf(rapid.IntRange(1, 4), rapid.IntRange(1, 3000)).Draw(t, "size"), len(whole))
		parts, whole = append(parts, whole[:size]), whole[size:]
	}
	return parts
}

func TestAnyCutDecodesToTheSame(t *testing.T) {
	eachFormat(t, func(t *testing.T, f format) {
		property.Check(t, func(t *rapid.T) {
			plain := drawText(t)
			encoded := f.encode(plain)
			got, err := decode(f.codings, drawCuts(t, encoded)...)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("decoded %d of %d bytes: %v", len(got), len(plain), err)
			}
		})
	})
}

func TestFlushedDataComesOutBeforeMoreIsRequested(t *testing.T) {
	eachFormat(t, func(t *testing.T, f format) {
		var wire bytes.Buffer
		w := f.writer(&wire)
		sent := 0
		event := func(n int) string { return fmt.Sprintf("data: event %d\n\n", n) }
		d := contentcoding.NewDecoder(f.codings, func() ([]byte, error) {
			must(w.Write([]byte(event(sent))))
			sent++
			if err := w.Flush(); err != nil {
				return nil, err
			}
			defer wire.Reset()
			return bytes.Clone(wire.Bytes()), nil
		})
		defer d.Close()
		for n := range 100 {
			if piece, err := d.Next(); err != nil || string(piece) != event(n) || sent != n+1 {
				t.Fatalf("event %d: got %q, %v, with %d sent", n, piece, err, sent)
			}
		}
	})
}

func TestAMembersEndComesOutBeforeTheNextIsThere(t *testing.T) {
	events := []string{"data: 1\n\n", "data: 2\n\n", "data: 3\n\n"}
	asked := 0
	d := contentcoding.NewDecoder(formats[0].codings, func() ([]byte, error) {
		if asked == len(events) {
			return nil, io.EOF
		}
		asked++
		return formats[0].encode([]byte(events[asked-1])), nil
	})
	defer d.Close()
	for n, event := range events {
		if piece, err := d.Next(); err != nil || string(piece) != event || asked != n+1 {
			t.Fatalf("got %q, %v, with %d asked for", piece, err, asked)
		}
	}
	if _, err := d.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("the end: %v", err)
	}
}

func TestATruncatedBodyIsNeverComplete(t *testing.T) {
	plain := []byte(strings.Repeat("all of it, ", 100))
	eachFormat(t, func(t *testing.T, f format) {
		encoded := f.encode(plain)
		for cut := 1; cut < len(encoded); cut++ {
			if got, err := decode(f.codings, encoded[:cut]); err == nil {
				t.Fatalf("%d of %d bytes: decoded to %d, and no error", cut, len(encoded), len(got))
			} else if known := (*contentcoding.Error)(nil); !errors.As(err, &known) {
				t.Fatalf("%d of %d bytes: expected an Error, got %v", cut, len(encoded), err)
			}
		}
	})
}

func TestBytesBehindTheEndAreAnError(t *testing.T) {
	eachFormat(t, func(t *testing.T, f format) {
		encoded := f.encode([]byte("whole"))
		for _, behind := range []string{"x", "\x00\x00\x00\x00", "garbage of some length"} {
			for _, parts := range [][][]byte{{encoded, []byte(behind)}, {append(slices.Clone(encoded), behind...)}} {
				if got, err := decode(f.codings, parts...); err == nil {
					t.Errorf("%q in %d parts: decoded to %q, and no error", behind, len(parts), got)
				}
			}
		}
	})
}

func TestAChangedByteIsAnErrorWhereThereIsAChecksum(t *testing.T) {
	plain := []byte(strings.Repeat("checksums say what has changed. ", 30))
	for _, name := range []string{"gzip", "gzip stored", "zlib", "zstd"} {
		f := formats[slices.IndexFunc(formats, func(f format) bool { return f.name == name })]
		encoded := f.encode(plain)
		for n := len(encoded) / 2; n < len(encoded); n++ {
			changed := slices.Clone(encoded)
			changed[n] ^= 0x10
			if got, err := decode(f.codings, changed); err == nil && !bytes.Equal(got, plain) {
				t.Errorf("%s: byte %d: decoded to something else, and no error", name, n)
			}
		}
	}
}

func TestSeveralMembersAndFramesAreOneBody(t *testing.T) {
	for _, name := range []string{"gzip", "zstd"} {
		f := formats[slices.IndexFunc(formats, func(f format) bool { return f.name == name })]
		whole := append(f.encode([]byte("one, ")), f.encode(nil)...)
		whole = append(whole, f.encode([]byte("two"))...)
		for size := 1; size <= len(whole); size++ {
			got, err := decode(f.codings, slices.Collect(slices.Chunk(whole, size))...)
			if err != nil || string(got) != "one, two" {
				t.Fatalf("%s in pieces of %d: got %q, %v", name, size, got, err)
			}
		}
	}
}

func TestNoBytesAreAnEmptyBody(t *testing.T) {
	eachFormat(t, func(t *testing.T, f format) {
		for range 2 { // the second time with reused decoders
			if got, err := decode(f.codings); err != nil || len(got) != 0 {
				t.Fatalf("got %q, %v", got, err)
			}
		}
	})
}

func TestAnErrorOfTheSourceIsItsOwn(t *testing.T) {
	gone := errors.New("the client is gone")
	eachFormat(t, func(t *testing.T, f format) {
		encoded := f.encode([]byte("whole"))
		for cut := range encoded {
			read := false
			d := contentcoding.NewDecoder(f.codings, func() ([]byte, error) {
				if read {
					return nil, gone
				}
				read = true
				return encoded[:cut], nil
			})
			var err error
			for err == nil {
				_, err = d.Next()
			}
			if _, again := d.Next(); !errors.Is(err, gone) || !errors.Is(again, gone) {
				t.Errorf("cut at %d: got %v, then %v", cut, err, again)
			}
			d.Close()
		}
	})
}

func TestOtherDecodersReadTheOutput(t *testing.T) {
	readers := map[contentcoding.Coding]func(io.Reader) io.Reader{
		contentcoding.Gzip:    func(r io.Reader) io.Reader { return must(gzip.NewReader(r)) },
		contentcoding.Deflate: func(r io.Reader) io.Reader { return must(zlib.NewReader(r)) },
		contentcoding.Brotli:  func(r io.Reader) io.Reader { return brotli.NewReader(r) },
		contentcoding.Zstd:    func(r io.Reader) io.Reader { return must(zstd.NewReader(r)) },
	}
	for coding, reader := range readers {
		t.Run(coding.String(), func(t *testing.T) {
			property.Check(t, func(t *rapid.T) {
				plain := drawText(t)
				got, err := io.ReadAll(reader(bytes.NewReader(bytes.Join(encode(t, []contentcoding.Coding{coding}, plain), nil))))
				if err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("read %d of %d bytes: %v", len(got), len(plain), err)
				}
			})
		})
	}
}

// encode encodes plain in pieces as drawn.
func encode(t *rapid.T, codings []contentcoding.Coding, plain []byte) [][]byte {
	e := contentcoding.NewEncoder(codings)
	defer e.Close()
	var encoded [][]byte
	for _, part := range drawCuts(t, plain) {
		encoded = append(encoded, e.Encode(part, false))
	}
	return append(encoded, e.Encode(nil, true))
}

func TestAPieceThatIsEncodedCanBeDecodedAtOnce(t *testing.T) {
	eachFormat(t, func(t *testing.T, f format) {
		property.Check(t, func(t *rapid.T) {
			parts := drawCuts(t, drawText(t))
			e := contentcoding.NewEncoder(f.codings)
			defer e.Close()
			count := 0
			d := contentcoding.NewDecoder(f.codings, func() ([]byte, error) {
				if count++; count > len(parts) {
					return e.Encode(nil, true), nil
				}
				return e.Encode(parts[count-1], false), nil
			})
			defer d.Close()
			for n, part := range parts {
				for len(part) > 0 {
					piece, err := d.Next()
					if err != nil || count != n+1 || !bytes.HasPrefix(part, piece) {
						t.Fatalf("part %d: got %d bytes, %v, with %d given", n, len(piece), err, count)
					}
					part = part[len(piece):]
				}
			}
		})
	})
}

func TestCodingsAreReadFromTheirHeader(t *testing.T) {
	for _, test := range []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"identity"}, ""},
		{[]string{"GZip"}, "gzip"},
		{[]string{"x-gzip"}, "gzip"},
		{[]string{"gzip , br", "zstd"}, "gzip, br, zstd"},
		{[]string{"identity, deflate,, "}, "deflate"},
	} {
		codings, err := contentcoding.ParseCodings(slices.Values(test.lines))
		if got := contentcoding.Format(codings); err != nil || got != test.want {
			t.Errorf("%q: expected %q, got %q, %v", test.lines, test.want, got, err)
		}
	}
	for line, want := range map[string]string{
		"compress":                     `content-encoding: expected gzip, deflate, br, zstd or identity, got "compress"`,
		"gzip, nonsense":               `content-encoding: expected gzip, deflate, br, zstd or identity, got "nonsense"`,
		"gzip, gzip, gzip, gzip, gzip": "content-encoding: expected at most 4 codings, got more",
	} {
		if _, err := contentcoding.ParseCodings(slices.Values([]string{line})); err == nil || err.Error() != want {
			t.Errorf("%q: expected %q, got %v", line, want, err)
		}
	}
}

func TestAcceptedCodings(t *testing.T) {
	for _, test := range []struct {
		accept   string
		identity bool
		codings  string
		upstream string
	}{
		{"", true, "", "identity"},
		{"gzip, deflate, br, zstd", true, "gzip deflate br zstd", "gzip, deflate, br, zstd"},
		{"gzip;q=0.5, br;q=1.0, compress, sdch", true, "gzip br", "gzip;q=0.5, br;q=1.0"},
		{"compress", true, "", "identity"},
		{"identity", true, "", "identity"},
		{"gzip, identity;q=0", false, "gzip", "gzip, identity;q=0"},
		{"gzip, *;q=0", false, "gzip", "gzip"},
		{"gzip, *;q=0, identity;q=0.1", true, "gzip", "gzip, identity;q=0.1"},
		{"identity;q=0.1, *;q=0", true, "", "identity"},
		{"*", true, "gzip deflate br zstd", "gzip, deflate, br, zstd"},
		{"*, br;q=0", true, "gzip deflate zstd", "br;q=0, gzip, deflate, zstd"},
		{"gzip;q=0", true, "", "identity"},
		{"GZIP ; Q=0.3", true, "gzip", "GZIP ; Q=0.3"},
		{"br;q=nonsense", true, "br", "br;q=nonsense"},
	} {
		a := contentcoding.ParseAccepted(slices.Values([]string{test.accept}))
		var accepted []string
		for coding := contentcoding.Gzip; coding <= contentcoding.Zstd; coding++ {
			if a.All([]contentcoding.Coding{coding}) {
				accepted = append(accepted, coding.String())
			}
		}
		if got := strings.Join(accepted, " "); a.Identity() != test.identity || got != test.codings || a.Decodable() != test.upstream {
			t.Errorf("%q: got identity %v, %q, upstream %q", test.accept, a.Identity(), got, a.Decodable())
		}
	}
}
