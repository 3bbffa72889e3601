package xds

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// rope is a serialized message, in parts: what was serialized before is not copied until the whole message is joined.
type rope struct {
	parts [][]byte
	size  int
}

func ropeOf(parts ...[]byte) rope {
	r := rope{parts: parts}
	for _, part := range parts {
		r.size += len(part)
	}
	return r
}

// concat joins ropes: of serialized messages, that is one with the fields of all.
func concat(ropes ...rope) (all rope) {
	count := 0
	for _, r := range ropes {
		count, all.size = count+len(r.parts), all.size+r.size
	}
	all.parts = make([][]byte, 0, count)
	for _, r := range ropes {
		all.parts = append(all.parts, r.parts...)
	}
	return all
}

// in returns the serialized field that holds the rope.
func (r rope) in(field protowire.Number) rope {
	head := protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.BytesType), uint64(r.size))
	return concat(ropeOf(head), r)
}

func (r rope) join() []byte {
	joined := make([]byte, 0, r.size)
	for _, part := range r.parts {
		joined = append(joined, part...)
	}
	return joined
}

// serialized returns a message that consists of constants and of texts that were checked, so that it always serializes.
func serialized(message proto.Message) rope {
	text, err := marshal(message)
	if err != nil {
		panic(err)
	}
	return ropeOf(text)
}

// fieldOf returns the number of a message's field.
func fieldOf(message proto.Message, name protoreflect.Name) protowire.Number {
	return message.ProtoReflect().Descriptor().Fields().ByName(name).Number()
}
