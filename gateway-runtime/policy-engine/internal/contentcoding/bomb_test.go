package contentcoding_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/contentcoding"
	"github.com/andybalholm/brotli"
)

// zeros are so many bytes of nothing, encoded.
func zeros(t testing.TB, f format, size int) []byte {
	t.Helper()
	var encoded bytes.Buffer
	w := f.writer(&encoded)
	block := make([]byte, 1<<20)
	for ; size > 0; size -= len(block) {
		must(w.Write(block[:min(size, len(block))]))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return encoded.Bytes()
}

// zstdBomb is a frame that says 10 GiB in 340 KB: each block of it is 4 bytes for 128 KiB (RFC 8878, 3.1.1.2.2).
func zstdBomb() []byte {
	const window = 7 << 3 // 2 to the power of 10 + 7: 128 KiB
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, window}
	const rle = 1 << 1
	block := binary.LittleEndian.AppendUint32(nil, 128<<10<<3|rle)[:3]
	for range 10 << 30 / (128 << 10) {
		frame = append(append(frame, block...), 'x')
	}
	return frame
}

// decodeAndDrop is how many bytes come out, how it ends, and by how many bytes the heap was larger on the way.
func decodeAndDrop(codings []contentcoding.Coding, encoded []byte) (size int64, grown uint64, err error) {
	debug.FreeOSMemory()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	left := encoded
	d := contentcoding.NewDecoder(codings, func() ([]byte, error) {
		if len(left) == 0 {
			return nil, io.EOF
		}
		piece := left[:min(len(left), 1<<10)]
		left = left[len(piece):]
		return piece, nil
	})
	defer d.Close()
	for n := 0; err == nil; n++ {
		var piece []byte
		piece, err = d.Next()
		if size += int64(len(piece)); n%64 == 0 {
			runtime.ReadMemStats(&now)
			grown = max(grown, now.HeapInuse-min(now.HeapInuse, before.HeapInuse))
		}
	}
	return size, grown, err
}

func TestBombsAreRefusedInConstantMemory(t *testing.T) {
	for name, bomb := range map[string]struct {
		format
		encoded []byte
	}{
		"zstd, 10 GiB":        {formats[6], zstdBomb()},
		"br, 64 MiB":          {formats[4], zeros(t, formats[4], 64<<20)},
		"gzip, 32 MiB":        {formats[0], zeros(t, formats[0], 32<<20)},
		"raw deflate, 32 MiB": {formats[3], zeros(t, formats[3], 32<<20)},
		"gzip in br, 64 MiB":  {formats[7], zeros(t, formats[7], 64<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			size, grown, err := decodeAndDrop(bomb.codings, bomb.encoded)
			if told := (*contentcoding.Error)(nil); !errors.As(err, &told) || !strings.Contains(err.Error(), "expected at most 200 times its encoded size") {
				t.Fatalf("expected a refusal, got %v", err)
			}
			if size > contentcoding.BombFloor || grown > 48<<20 {
				t.Errorf("%d bytes decoded, the heap grown by %d", size, grown)
			}
			t.Logf("%d bytes encoded, %d decoded, the heap grown by %d: %v", len(bomb.encoded), size, grown, err)
		})
	}
}

func TestALargeBodyOfAnOrdinaryRatioIsDecoded(t *testing.T) {
	for _, f := range []format{formats[0], formats[4], formats[6]} {
		t.Run(f.name, func(t *testing.T) {
			var plain bytes.Buffer
			for n := 0; plain.Len() < 16<<20; n++ {
				plain.WriteString(strings.Repeat("a line as any other in a log ", 3))
				plain.Write(binary.AppendVarint(nil, int64(n)*7919))
			}
			size, grown, err := decodeAndDrop(f.codings, f.encode(plain.Bytes()))
			if !errors.Is(err, io.EOF) || size != int64(plain.Len()) || grown > 48<<20 {
				t.Errorf("%d of %d bytes, the heap grown by %d: %v", size, plain.Len(), grown, err)
			}
		})
	}
}

func TestAWindowThatIsTooLargeIsRefused(t *testing.T) {
	const window = 14 << 3 // 2 to the power of 10 + 14: 16 MiB
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0}
	if _, err := decode([]contentcoding.Coding{contentcoding.Zstd}, frame); err == nil {
		t.Error("zstd: no error")
	}
	var large bytes.Buffer
	w := brotli.NewWriterOptions(&large, brotli.WriterOptions{Quality: 5, LGWin: 24})
	must(w.Write([]byte("16 MiB is the most that br has")))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := decode([]contentcoding.Coding{contentcoding.Brotli}, large.Bytes()); err != nil {
		t.Errorf("br: %q, %v", got, err)
	}
	// RFC 9841 says in a byte that is none of RFC 7932 that the window's size follows: here 2 to the power of 30.
	if got, err := decode([]contentcoding.Coding{contentcoding.Brotli}, []byte{0x11, 30, 3, 0, 0}); err == nil || strings.Contains(err.Error(), "got the end") {
		t.Errorf("br with a large window: %q, %v", got, err)
	}
}
