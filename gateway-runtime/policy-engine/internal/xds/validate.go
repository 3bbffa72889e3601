package xds

import (
	"errors"
	"fmt"
	"regexp"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	// Clusters and listeners carry these in an Any: linked in so that they are checked too.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/quic/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

type validator interface{ ValidateAll() error }

// parse fills into from text and checks it: by Envoy's own constraints in the protos, at any depth, inside
// of Any too (types that are not linked in are left to Envoy), and by compiling every regular expression.
func parse(text []byte, into proto.Message) error {
	if err := proto.Unmarshal(text, into); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return validate(into)
}

func validate(message proto.Message) error {
	var errs []error
	if checked, ok := message.(validator); ok {
		errs = append(errs, checked.ValidateAll())
	}
	return errors.Join(append(errs, validateInside(message.ProtoReflect()))...)
}

// validateInside checks what the generated validators do not: regular expressions and Any.
func validateInside(message protoreflect.Message) error {
	switch typed := message.Interface().(type) {
	case *matcherv3.RegexMatcher:
		if _, err := regexp.Compile(typed.GetRegex()); err != nil {
			return fmt.Errorf("regex: expected RE2 syntax: %w", err)
		}
	case *anypb.Any:
		return validateAny(typed)
	}
	return validateFields(message)
}

func validateAny(packed *anypb.Any) error {
	if packed.GetTypeUrl() == "" && len(packed.GetValue()) == 0 { // of a FilterConfig that only enables the filter
		return nil
	}
	inner, err := packed.UnmarshalNew()
	if errors.Is(err, protoregistry.NotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", packed.GetTypeUrl(), err)
	}
	if err := validate(inner); err != nil {
		return fmt.Errorf("%s: %w", packed.GetTypeUrl(), err)
	}
	return nil
}

func validateFields(message protoreflect.Message) error {
	var errs []error
	forEachMessage(message, func(inner protoreflect.Message) { errs = append(errs, validateInside(inner)) })
	return errors.Join(errs...)
}

// forEachMessage calls visit for each message in a field, or in a list or map that is one.
func forEachMessage(message protoreflect.Message, visit func(protoreflect.Message)) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, item protoreflect.Value) bool {
				visit(item.Message())
				return true
			})
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				visit(value.List().Get(i).Message())
			}
		case !field.IsMap() && field.Message() != nil:
			visit(value.Message())
		}
		return true
	})
}
