package extproc

import (
	"errors"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// The part of the protobuf wire format that ext_proc needs (https://protobuf.dev/programming-guides/encoding).

// tag is a field's number and wire type, as they stand before its value.
type tag uint64

const (
	varintField tag = iota
	fixed64Field
	bytesField
	groupStart
	groupEnd
	fixed32Field
)

var (
	errTruncated = errors.New("protobuf: expected more bytes")
	errMalformed = errors.New("protobuf: expected a field, got something else")
	errGroup     = errors.New("protobuf: expected no group, for in proto3 there is none")
	errNotUTF8   = errors.New("protobuf: expected text in UTF-8")
)

// field is one field of a message. Fields of a message that is a string share its text.
type field[Message string | []byte] struct {
	tag    tag
	number uint64  // of a varint
	value  Message // of text, bytes or a message
}

// consumeField takes the first field off a message. A field of another wire type than varint and bytes comes without a
// value.
func consumeField[Message string | []byte](rest *Message) (f field[Message], err error) {
	var length uint64
	key, err := consumeVarint(rest)
	f.tag = tag(key)
	if key>>3 == 0 || key>>3 > uint64(protowire.MaxValidNumber) {
		return f, errors.Join(err, errMalformed)
	}
	switch f.tag & 7 {
	case varintField:
		f.number, err = consumeVarint(rest)
		return f, err
	case bytesField:
		length, err = consumeVarint(rest)
	case fixed64Field:
		length = 8
	case fixed32Field:
		length = 4
	case groupStart, groupEnd:
		return f, errGroup
	default:
		return f, errMalformed
	}
	if err != nil || length > uint64(len(*rest)) {
		return f, errors.Join(err, errTruncated)
	}
	f.value, *rest = (*rest)[:length], (*rest)[length:]
	return f, nil
}

func consumeVarint[Message string | []byte](rest *Message) (value uint64, err error) {
	message := *rest
	for n := 0; n < len(message); n++ {
		b := message[n]
		if n == 9 && b > 1 {
			return 0, errMalformed
		}
		if value |= uint64(b&0x7f) << (7 * n); b < 0x80 {
			*rest = message[n+1:]
			return value, nil
		}
	}
	return 0, errTruncated
}

// builder writes a message. The caller leaves out fields that are unset.
type builder []byte

func (b *builder) varint(number protowire.Number, value uint64) {
	*b = protowire.AppendVarint(protowire.AppendTag(*b, number, protowire.VarintType), value)
}

func (b *builder) text(number protowire.Number, value string) {
	*b = protowire.AppendString(protowire.AppendTag(*b, number, protowire.BytesType), value)
}

// open begins a nested message. Everything written until close, which takes the position that open returned, is in it.
func (b *builder) open(number protowire.Number) (start int) {
	*b = append(protowire.AppendTag(*b, number, protowire.BytesType), 0)
	return len(*b)
}

// close writes the length, for which open has reserved one byte.
func (b *builder) close(start int) { b.closeAround(start, 0) }

// closeAround is close for a message of which rest more bytes follow behind the builder.
func (b *builder) closeAround(start, rest int) {
	here := len(*b) - start
	if more := sizeVarint(here+rest) - 1; more > 0 {
		*b = append(*b, make([]byte, more)...)
		copy((*b)[start+more:], (*b)[start:start+here])
	}
	protowire.AppendVarint((*b)[:start-1], uint64(here+rest))
}

// bytesHead begins a field whose value, size bytes long, follows behind the builder.
func (b *builder) bytesHead(number protowire.Number, size int) {
	*b = protowire.AppendVarint(protowire.AppendTag(*b, number, protowire.BytesType), uint64(size))
}

// closeUnlessEmpty closes a message, or removes it, with its one-byte tag, if nothing was written to it.
func (b *builder) closeUnlessEmpty(start int) {
	if len(*b) == start {
		*b = (*b)[:start-2]
		return
	}
	b.close(start)
}

// nest begins nested messages, each with only the next one in it. The innermost will have size bytes.
func (b *builder) nest(size int, numbers ...protowire.Number) {
	var sizes [4]int
	for n := len(numbers) - 1; n >= 0; n-- {
		sizes[n] = size
		size += protowire.SizeTag(numbers[n]) + sizeVarint(size)
	}
	for n, number := range numbers {
		*b = protowire.AppendVarint(protowire.AppendTag(*b, number, protowire.BytesType), uint64(sizes[n]))
	}
}

func sizeVarint(value int) int { return (bits.Len(uint(value|1)) + 6) / 7 }
