package contentcoding_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"gatewright.dev/policy-engine/internal/contentcoding"
)

// record is JSON of about the size, like an API's response.
func record(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	text.WriteByte('[')
	for n := 0; text.Len() < size; n++ {
		fmt.Fprintf(&text, `{"id": %d, "name": "customer %d", "active": %v, "balance": %.2f, "tags": ["a%d", "b%d"]},`,
			random.IntN(1e9), n, n%3 == 0, random.Float64()*1e4, random.IntN(50), random.IntN(50))
	}
	return append(text.Bytes(), "{}]"...)
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range []int{10 << 10, 1 << 20} {
		plain := record(size)
		for _, f := range formats[:7] {
			encoded := f.encode(plain)
			b.Run(fmt.Sprintf("%s/%d", f.name, size), func(b *testing.B) {
				b.SetBytes(int64(len(plain)))
				b.ReportAllocs()
				for b.Loop() {
					d := contentcoding.NewDecoder(f.codings, pieces(encoded))
					var err error
					for err == nil {
						_, err = d.Next()
					}
					if d.Close(); !errors.Is(err, io.EOF) {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(plain))/float64(len(encoded)), "ratio")
			})
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, size := range []int{10 << 10, 1 << 20} {
		plain := record(size)
		for coding := contentcoding.Gzip; coding <= contentcoding.Zstd; coding++ {
			b.Run(fmt.Sprintf("%s/%d", coding, size), func(b *testing.B) {
				b.SetBytes(int64(len(plain)))
				b.ReportAllocs()
				var encoded []byte
				for b.Loop() {
					e := contentcoding.NewEncoder([]contentcoding.Coding{coding})
					encoded = e.Encode(plain, true)
					e.Close()
				}
				b.ReportMetric(float64(len(plain))/float64(len(encoded)), "ratio")
			})
		}
	}
}
