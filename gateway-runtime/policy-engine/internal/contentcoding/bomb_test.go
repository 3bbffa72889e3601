package contentcoding_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/contentcoding"
	"github.com/andybalholm/brotli"
)

// zeros are that many zero bytes, encoded.
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

// zstdBomb is a frame of 340 KB for 10 GiB: each block of it is 4 bytes for 128 KiB (RFC 8878, 3.1.1.2.2).
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

// decodeAndDrop returns the number of decoded bytes, the error, and the growth of the heap meanwhile.
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

// large is the size of a body whose limit is the ratio. Encoding one takes seconds with the race detector on, so gzip
// and zstd encode a megabyte of it, and repeat that.
const large, megabytes = contentcoding.BombFloor + 2<<20, large >> 20

func TestBombsAreRefusedInConstantMemory(t *testing.T) {
	gzipped := bytes.Repeat(zeros(t, formats[0], 1<<20), megabytes)
	for name, bomb := range map[string]struct {
		format
		encoded []byte
	}{
		"zstd, 10 GiB": {formats[6], zstdBomb()},
		"br":           {formats[4], zeros(t, formats[4], large)},
		"gzip":         {formats[0], gzipped},
		"raw deflate":  {formats[3], zeros(t, formats[3], large)},
		"gzip in br":   {formats[7], formats[5].encode(gzipped)},
	} {
		t.Run(name, func(t *testing.T) {
			size, grown, err := decodeAndDrop(bomb.codings, bomb.encoded)
			if known := (*contentcoding.Error)(nil); !errors.As(err, &known) || !strings.Contains(err.Error(), "expected at most 200 times its encoded size") {
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
	whole := make([]byte, large)
	random := rand.NewChaCha8([32]byte{1})
	for block := whole; len(block) > 0; block = block[64<<10:] {
		_, _ = random.Read(block[:4<<10]) // and 60 KiB of nothing: a sixteenth of it is left
	}
	megabyte := whole[:1<<20]
	for _, c := range []struct {
		format
		encoded []byte
	}{
		{formats[0], bytes.Repeat(formats[0].encode(megabyte), megabytes)},
		{formats[5], formats[5].encode(whole)},
		{formats[6], bytes.Repeat(formats[6].encode(megabyte), megabytes)},
	} {
		t.Run(c.name, func(t *testing.T) {
			size, grown, err := decodeAndDrop(c.codings, c.encoded)
			if !errors.Is(err, io.EOF) || size != int64(len(whole)) || grown > 48<<20 {
				t.Errorf("%d of %d bytes, the heap grown by %d: %v", size, len(whole), grown, err)
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
	var wide bytes.Buffer
	w := brotli.NewWriterOptions(&wide, brotli.WriterOptions{Quality: 5, LGWin: 24})
	must(w.Write([]byte("16 MiB is the most that br has")))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := decode([]contentcoding.Coding{contentcoding.Brotli}, wide.Bytes()); err != nil {
		t.Errorf("br: %q, %v", got, err)
	}
	// In RFC 9841 a byte that RFC 7932 does not allow announces the window's size: here 2 to the power of 30.
	if got, err := decode([]contentcoding.Coding{contentcoding.Brotli}, []byte{0x11, 30, 3, 0, 0}); err == nil || strings.Contains(err.Error(), "got the end") {
		t.Errorf("br with a large window: %q, %v", got, err)
	}
}
