package contentcoding

import (
	"bufio"
	"errors"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// decoder removes one coding. It reads no more than it needs for its output, returns what it has rather than wait, and
// is reused after reset; reset(nil) drops the reference to its source.
type decoder interface {
	io.Reader
	reset(from io.Reader)
}

// maxZstdWindow is the limit of the coding zstd (RFC 9659); the format has larger windows.
const maxZstdWindow = 8 << 20

// windows is the distance of each coding's back references, which its decoder holds.
var windows = [...]int64{Gzip: 32 << 10, Deflate: 32 << 10, Brotli: 16 << 20, Zstd: maxZstdWindow}

// fixedSize is the memory of a decoder besides its window: tables and read-ahead.
const fixedSize = 64 << 10

var buffers = sync.Pool{New: func() any { room := make([]byte, pieceSize); return &room }}

var pools = [...]*sync.Pool{
	Gzip:    {New: func() any { return &gzipDecoder{in: bufio.NewReader(nil)} }},
	Deflate: {New: func() any { return &deflateDecoder{in: bufio.NewReader(nil)} }},
	Brotli:  {New: func() any { return &brotliDecoder{} }},
	Zstd:    {New: func() any { return &zstdDecoder{} }},
}

var errTrailing = errors.New("expected the end, got more bytes")

// gzipDecoder decodes members, one after the other (RFC 1952, 2.2). It returns a member's data before it waits for the
// next member.
type gzipDecoder struct {
	in     *bufio.Reader
	member gzip.Reader
	inside bool
}

func (d *gzipDecoder) reset(from io.Reader) {
	d.in.Reset(from)
	d.inside = false
}

func (d *gzipDecoder) Read(p []byte) (int, error) {
	for {
		if !d.inside {
			if err := d.begin(); err != nil {
				return 0, err
			}
		}
		n, err := d.member.Read(p)
		if d.inside = err != io.EOF; !d.inside { //nolint:errorlint // the reader returns io.EOF itself
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (d *gzipDecoder) begin() error {
	if _, err := d.in.Peek(1); err != nil {
		return err
	}
	if err := d.member.Reset(d.in); err != nil {
		return unexpectedEOF(err)
	}
	d.member.Multistream(false)
	d.inside = true
	return nil
}

// deflateDecoder decodes zlib, or raw deflate if there is no header of zlib.
type deflateDecoder struct {
	in        *bufio.Reader
	zlib, raw io.ReadCloser // made when first needed
	current   io.Reader
	ended     bool
}

func (d *deflateDecoder) reset(from io.Reader) {
	d.in.Reset(from)
	d.current, d.ended = nil, false
}

func (d *deflateDecoder) Read(p []byte) (int, error) {
	if d.ended {
		return 0, checkEnd(d.in)
	}
	if d.current == nil {
		if err := d.begin(); err != nil {
			return 0, unexpectedEOF(err)
		}
	}
	n, err := d.current.Read(p)
	if err == io.EOF { //nolint:errorlint // the reader returns io.EOF itself
		d.ended = true
		return n, nil
	}
	return n, err
}

func (d *deflateDecoder) begin() (err error) {
	header, err := d.in.Peek(2)
	if err != nil {
		return err
	}
	switch {
	case !isZlib(header) && d.raw == nil:
		d.raw = flate.NewReader(d.in)
		d.current = d.raw
	case !isZlib(header):
		d.current, err = d.raw, d.raw.(flate.Resetter).Reset(d.in, nil)
	case d.zlib == nil:
		d.zlib, err = zlib.NewReader(d.in)
		d.current = d.zlib
	default:
		d.current, err = d.zlib, d.zlib.(zlib.Resetter).Reset(d.in, nil)
	}
	return err
}

// isZlib reports whether the two bytes are a header of zlib (RFC 1950, 2.2).
func isZlib(header []byte) bool {
	return header[0]&0x0f == 8 && header[0]>>4 <= 7 && (uint(header[0])<<8|uint(header[1]))%31 == 0
}

type brotliDecoder struct {
	reader *brotli.Reader // made when first needed
}

func (d *brotliDecoder) reset(from io.Reader) {
	if d.reader == nil {
		d.reader = brotli.NewReader(from)
		return
	}
	_ = d.reader.Reset(from) // it never fails
}

func (d *brotliDecoder) Read(p []byte) (int, error) { return d.reader.Read(p) }

type zstdDecoder struct {
	reader *zstd.Decoder // made when first needed
	err    error
}

func (d *zstdDecoder) reset(from io.Reader) {
	if d.reader != nil {
		d.err = d.reader.Reset(from)
		return
	}
	d.reader, d.err = zstd.NewReader(from,
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
}

func (d *zstdDecoder) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	return d.reader.Read(p)
}

// unexpectedEOF converts the error of a reader in the middle of a stream, where an end is unexpected.
func unexpectedEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // readers return io.EOF itself
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkEnd returns io.EOF, unless there is more to read.
func checkEnd(in *bufio.Reader) error {
	if _, err := in.Peek(1); err != nil {
		return err
	}
	return errTrailing
}
