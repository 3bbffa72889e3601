package extproc

import (
	"errors"
	"strings"
	"testing"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// A look reduces a message to the parts that decode reads.
type look func(message []byte) []byte

func all(message []byte) []byte { return message }
func nothingIn(_ []byte) []byte { return nil }

// fields keeps some fields, and reduces those that are messages.
func fields(looks map[protowire.Number]look) look {
	return func(message []byte) (left []byte) {
		for len(message) > 0 {
			number, kind, size := protowire.ConsumeTag(message)
			whole := size + protowire.ConsumeFieldValue(number, kind, message[size:])
			look, looked := looks[number]
			if looked && kind == protowire.BytesType {
				text, _ := protowire.ConsumeBytes(message[size:whole])
				left = protowire.AppendBytes(protowire.AppendTag(left, number, kind), look(text))
			} else if looked {
				left = append(left, message[:whole]...)
			}
			message = message[whole:]
		}
		return left
	}
}

var (
	asHeaders  = fields(map[protowire.Number]look{1: fields(map[protowire.Number]look{1: fields(map[protowire.Number]look{1: all, 2: all, 3: all})}), 3: all})
	asPieces   = fields(map[protowire.Number]look{1: all, 2: all})
	asValue    = fields(map[protowire.Number]look{1: all, 2: all, 3: all, 4: all, 5: nothingIn, 6: nothingIn})
	asFilter   = fields(map[protowire.Number]look{1: all, 2: fields(map[protowire.Number]look{1: asAttribute})})
	asRequests = fields(map[protowire.Number]look{2: asHeaders, 3: asHeaders, 4: asPieces, 5: asPieces, 6: nothingIn, 7: nothingIn, 9: asFilter, 11: asPieces})
)

// asAttribute keeps the name, and the value of attributes that the engine reads.
func asAttribute(entry []byte) []byte {
	named := fields(map[protowire.Number]look{1: all})(entry)
	name := &wrapperspb.StringValue{} // its text is field 1, as names are
	if proto.Unmarshal(named, name) == nil && (new(requestAttributes).find(name.GetValue()) != nil || name.GetValue() == envoynames.EnvoyMinorAttribute) {
		return fields(map[protowire.Number]look{1: all, 2: asValue})(entry)
	}
	return named
}

// FuzzDecode: decode reads a message exactly as generated code does. It refuses the same messages, and also groups, a
// second request and a second value of one entry; and it accepts no others, except where it does not read.
func FuzzDecode(f *testing.F) {
	for n := range 20 {
		f.Add(must(proto.Marshal(anyRequest.Example(n))))
	}
	for _, wire := range twice {
		f.Add([]byte(wire))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		message, got := &servicev3.ProcessingRequest{}, incoming{}
		if err := got.decode(wire); err != nil {
			stricter := errors.Is(err, errTwoRequests) || errors.Is(err, errTwoValues) || errors.Is(err, errGroup)
			if !stricter && proto.Unmarshal(wire, message) == nil {
				t.Errorf("refused what generated code takes: %v", err)
			}
			return
		}
		if err := proto.Unmarshal(asRequests(wire), message); err != nil {
			t.Fatalf("took what generated code refuses: %v", err)
		}
		want := read(message)
		if len(message.GetAttributes()) > 1 { // of several filters' generated code does not keep the order
			want.requestAttributes = got.requestAttributes
		}
		if !sameIncoming(want, got) {
			t.Errorf("expected %+v, got %+v", want, got)
		}
	})
}

// ---------------------------------------------------------------- repeated fields

func entry(key, value string) string { return "\x0a" + sized(key) + "\x12" + sized(value) }

func sized(text string) string { return string(protowire.AppendVarint(nil, uint64(len(text)))) + text }

func attributeOf(name, value string) string { return "\x0a" + sized(entry(name, value)) }
func attributes(group string) string        { return "\x4a" + sized(entry("filter", group)) }

// twice are messages in which a single-valued field occurs twice.
var twice = map[string]string{
	"a filter": attributes(attributeOf("xds.route_name", "\x1a\x01a")) +
		attributes(attributeOf("source.address", "\x1a\x01b")),
	"an attribute":          attributes(attributeOf("xds.route_name", "\x1a\x01a") + attributeOf("xds.route_name", "\x1a\x01b")),
	"an attribute, then no": attributes(attributeOf("xds.route_name", "\x1a\x01a") + attributeOf("xds.route_name", "")),
	"a value's text":        attributes(attributeOf("xds.route_name", "\x1a\x01a\x1a\x01b")),
	"a text, then a bool":   attributes(attributeOf("xds.route_name", "\x1a\x01a\x20\x01")),
	"a text, then a number": attributes(attributeOf("xds.route_name", "\x1a\x01a\x11\x00\x00\x00\x00\x00\x00\x00\x00")),
	"a text, then null":     attributes(attributeOf("xds.route_name", "\x1a\x01a\x08\x00")),
	"a text, then a list":   attributes(attributeOf("xds.route_name", "\x1a\x01a\x32\x00")),
	"a text, then a struct": attributes(attributeOf("xds.route_name", "\x1a\x01a\x2a\x00")),
	"headers":               "\x12" + sized("\x0a"+sized("\x0a"+sized("\x0a\x01a\x1a\x01b"))+"\x0a"+sized("\x0a"+sized("\x0a\x01c\x1a\x01d"))),
	"a header's name":       "\x12" + sized("\x0a"+sized("\x0a"+sized("\x0a\x01a\x0a\x01b\x1a\x01c\x1a\x01d"))),
	"a piece":               "\x22" + sized("\x0a\x01a\x0a\x01b\x10\x01\x10\x00"),
	"modes":                 "\x5a" + sized("\x08\x01\x10\x02") + "\x5a" + sized("\x08\x03"),
}

func TestRepeatedFieldsAreReadAsGeneratedCodeReadsThem(t *testing.T) {
	for name, wire := range twice {
		message, got := &servicev3.ProcessingRequest{}, incoming{}
		if err := errors.Join(proto.Unmarshal([]byte(wire), message), got.decode([]byte(wire))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := read(message); !sameIncoming(want, got) {
			t.Errorf("%s: expected %+v, got %+v", name, want, got)
		}
	}
	if got := (incoming{}); got.decode([]byte(strings.Repeat(twice["a filter"], 2))) != nil || got.route != "" || got.client != "b" {
		t.Errorf("expected the last, got %+v", got)
	}
}
