package extproc

import (
	"encoding/hex"
	"slices"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/sdk/policy/v1alpha"
)

const traceparent, tracestate = "traceparent", "tracestate"

// SetTrace makes the exchange a part of its trace.
func (f *front) SetTrace(trace *exchange.Trace) { f.trace = trace }

// traceHeaders replaces the trace's headers in the changes, even those that policies have set.
func traceHeaders(changes *chain.Changes, trace *exchange.Trace) {
	own := func(header v1alpha.Header) bool { return header.Name == traceparent || header.Name == tracestate }
	changes.Headers.Set = slices.DeleteFunc(slices.Clone(changes.Headers.Set), own)
	changes.Headers.Append = slices.DeleteFunc(slices.Clone(changes.Headers.Append), own)
	changes.Headers.Remove = slices.DeleteFunc(slices.Clone(changes.Headers.Remove), func(name string) bool { return name == traceparent || name == tracestate })
	changes.Headers.Set = append(changes.Headers.Set, v1alpha.Header{Name: traceparent, Value: trace.Traceparent()})
	if trace.State == "" {
		changes.Headers.Remove = append(changes.Headers.Remove, tracestate) // it could only belong to another trace
	}
}

// sendTraced sends a message, and with the first one the trace, for Envoy's access log. If that fails the engine
// reports the exchange itself.
func (f *front) sendTraced(message outgoing) error {
	if f.trace == nil || f.other || f.trace.Sent.Swap(true) {
		return f.send(message)
	}
	return f.sendTrace(message)
}

func (f *front) sendTrace(message outgoing) error {
	metadata, err := traceMetadata(f.trace)
	if err != nil {
		f.trace.Sent.Store(false)
		return f.send(message)
	}
	message.head = append(metadata, message.head...) // concatenated messages are merged
	if err = f.send(message); err != nil {
		f.trace.Sent.Store(false)
	}
	return err
}

// traceMetadata is a message with the trace's ids for Envoy.
func traceMetadata(trace *exchange.Trace) ([]byte, error) {
	fields := map[string]*structpb.Value{
		envoynames.TraceIDKey:         structpb.NewStringValue(hex.EncodeToString(trace.ID[:])),
		envoynames.TraceSpanIDKey:     structpb.NewStringValue(hex.EncodeToString(trace.Exchange[:])),
		envoynames.TraceUpstreamIDKey: structpb.NewStringValue(hex.EncodeToString(trace.Upstream[:])),
	}
	if trace.Parent != [8]byte{} {
		fields[envoynames.TraceParentIDKey] = structpb.NewStringValue(hex.EncodeToString(trace.Parent[:]))
		fields[envoynames.TraceStateKey] = structpb.NewStringValue(trace.State)
	}
	return proto.Marshal(&servicev3.ProcessingResponse{DynamicMetadata: &structpb.Struct{Fields: map[string]*structpb.Value{
		envoynames.TraceNamespace: structpb.NewStructValue(&structpb.Struct{Fields: fields})}}})
}

// decodeMetadata reads Metadata (envoy.config.core.v3): the token that a client has presented to have its exchange
// traced.
func (m *incoming) decodeMetadata(text string) error {
	const namespaces = 1<<3 + bytesField
	for text != "" {
		f, err := consumeField(&text)
		if err != nil {
			return err
		}
		if f.tag != namespaces {
			continue
		}
		name, group, err := decodeEntry(f.value)
		if err == nil && name == envoynames.TraceNamespace {
			err = m.decodeToken(group)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decodeToken reads a Struct. The last entry counts.
func (m *incoming) decodeToken(group string) error {
	const fields = 1<<3 + bytesField
	m.token = ""
	for group != "" {
		f, err := consumeField(&group)
		if err != nil {
			return err
		}
		if f.tag != fields {
			continue
		}
		key, value, err := decodeEntry(f.value)
		if err == nil && key == envoynames.TraceTokenKey {
			m.token, err = decodeString(value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
