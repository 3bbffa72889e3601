package extproc

import (
	"encoding/json"
	"fmt"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/extproc/demux"
	"gatewright.dev/sdk/policy/v1alpha"
)

// outgoing is an encoded ProcessingResponse in two parts: what stands before a body, and the body, which is the last
// field of every message around it and is not copied. Frequent messages are encoded here; immediate responses and
// metadata, which are rare, by generated code. Header names are tokens and values go as bytes, so all text is UTF-8.
type outgoing struct{ head, body []byte }

// messageCapacity is the capacity that most messages fit in.
const messageCapacity = 256

// The fields of ProcessingResponse for a request; the field for a response has the next number.
const (
	toHeaders  = protowire.Number(1)
	toBody     = protowire.Number(3)
	toTrailers = protowire.Number(5)
)

func answerField(number protowire.Number, response bool) protowire.Number {
	if response {
		return number + 1
	}
	return number
}

// The field of an immediate response, and the field of its body.
const (
	immediateResponse = protowire.Number(7)
	immediateBody     = protowire.Number(3)
)

// The fields inside these messages.
const (
	commonResponse   = protowire.Number(1) // of HeadersResponse and BodyResponse
	trailerMutation  = protowire.Number(1) // of TrailersResponse
	commonStatus     = protowire.Number(1) // of CommonResponse, as are
	headerMutation   = protowire.Number(2)
	bodyMutation     = protowire.Number(3)
	wholeBody        = protowire.Number(1) // of BodyMutation, as is
	streamedResponse = protowire.Number(3)
	streamedBody     = protowire.Number(1) // of StreamedBodyResponse, as is
	streamedEnd      = protowire.Number(2)
	setHeaders       = protowire.Number(1) // of HeaderMutation, as is
	removeHeaders    = protowire.Number(2)
	optionHeader     = protowire.Number(1) // of HeaderValueOption, as are
	optionAppend     = protowire.Number(2)
	optionAction     = protowire.Number(3)
	headerKey        = protowire.Number(1) // of HeaderValue, as is
	headerRawValue   = protowire.Number(3)
	boolValue        = protowire.Number(1) // of BoolValue
	dynamicMetadata  = protowire.Number(8) // of ProcessingResponse
	structFields     = protowire.Number(1) // of Struct
	structValue      = protowire.Number(5) // of Value, as is
	stringValue      = protowire.Number(3)
	entryKey         = protowire.Number(1) // of an entry of a map, as is
	entryValue       = protowire.Number(2)
)

// headersAnswer answers a headers message. route is a name that Envoy does not know yet; "": none.
func headersAnswer(changes *chain.Changes, route string, response bool) (out outgoing, err error) {
	b := make(builder, 0, messageCapacity+len(route))
	b.routeName(route)
	if err := b.metadata(changes.Analytics, changes.Identity, changes.Authority, changes.Upstream); err != nil {
		return out, err
	}
	if err := b.attempts(changes.Attempts); err != nil {
		return out, err
	}
	if changes.Body != nil {
		out.body = *changes.Body
	}
	answer := b.open(answerField(toHeaders, response))
	common := b.open(commonResponse)
	if changes.Body != nil {
		b.varint(commonStatus, uint64(servicev3.CommonResponse_CONTINUE_AND_REPLACE))
	}
	b.headerMutation(changes)
	if changes.Body != nil {
		mutation := b.open(bodyMutation)
		b.bytesHead(wholeBody, len(out.body))
		b.closeAround(mutation, len(out.body))
	}
	b.closeAround(common, len(out.body))
	b.closeAround(answer, len(out.body))
	out.head = b
	return out, nil
}

// headerMutation leaves `:authority` alone: it goes by metadata, since Envoy selects virtual hosts by it, and may do so
// again.
func (b *builder) headerMutation(changes *chain.Changes) {
	mutation := b.open(headerMutation)
	b.setHeaders(&changes.Headers)
	b.pseudoHeader(":method", changes.Method)
	b.pseudoHeader(":path", changes.Path)
	if changes.Status != 0 {
		b.pseudoHeader(":status", strconv.Itoa(changes.Status))
	}
	if len(changes.Attempts) > 0 {
		b.header("x-envoy-max-retries", strconv.Itoa(len(changes.Attempts)-1), false) // so each upstream is asked once
	}
	b.removeHeaders(&changes.Headers)
	b.closeUnlessEmpty(mutation)
}

func (b *builder) setHeaders(changes *v1alpha.HeaderModifications) {
	for n, header := range changes.Set {
		b.header(header.Name, header.Value, isRepeated(changes.Set, n))
	}
	for _, header := range changes.Append {
		b.header(header.Name, header.Value, true)
	}
}

func (b *builder) removeHeaders(changes *v1alpha.HeaderModifications) {
	for _, name := range changes.Remove {
		b.text(removeHeaders, name)
	}
}

// isRepeated reports whether a header repeats an earlier name: the first value overwrites, the others are appended.
func isRepeated(headers []v1alpha.Header, n int) bool {
	return v1alpha.Headers(headers[:n]).Has(headers[n].Name)
}

func (b *builder) pseudoHeader(name, value string) {
	if value != "" {
		b.header(name, value, false)
	}
}

// header overwrites a header, or appends to it. APPEND_IF_EXISTS_OR_ADD is zero, which Envoy's ext_proc cannot
// distinguish from unset and treats as overwrite; only the old field makes it append.
func (b *builder) header(name, value string, appends bool) {
	option := b.open(setHeaders)
	header := b.open(optionHeader)
	b.text(headerKey, name)
	if value != "" {
		b.text(headerRawValue, value)
	}
	b.close(header)
	if appends {
		yes := b.open(optionAppend)
		b.varint(boolValue, 1)
		b.close(yes)
	} else {
		b.varint(optionAction, uint64(corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	}
	b.close(option)
}

func pieceAnswer(piece []byte, last, response bool) outgoing {
	size := protowire.SizeTag(streamedBody) + protowire.SizeBytes(len(piece))
	if last {
		size += protowire.SizeTag(streamedEnd) + 1
	}
	b := make(builder, 0, 64)
	b.nest(size, answerField(toBody, response), commonResponse, bodyMutation, streamedResponse)
	if last {
		b.varint(streamedEnd, 1)
	}
	b.bytesHead(streamedBody, len(piece))
	return outgoing{b, piece}
}

func trailersAnswer(changes *v1alpha.HeaderModifications, response bool) outgoing {
	b := make(builder, 0, 2)
	answer := b.open(answerField(toTrailers, response))
	mutation := b.open(trailerMutation)
	b.setHeaders(changes)
	b.removeHeaders(changes)
	b.closeUnlessEmpty(mutation)
	b.close(answer)
	return outgoing{head: b}
}

// addAnalytics adds analytics to a message that has no metadata.
func (o *outgoing) addAnalytics(analytics map[string]any) error {
	b := make(builder, 0, messageCapacity+len(o.head))
	if err := b.metadata(analytics, nil, "", ""); err != nil {
		return err
	}
	o.head = append(b, o.head...)
	return nil
}

// echo answers a piece or trailers with the same piece or trailers.
func echo(message *incoming) outgoing {
	switch message.Kind {
	case demux.RequestBody, demux.ResponseBody:
		return pieceAnswer(message.Piece, message.Ended, message.Kind == demux.ResponseBody)
	default:
		return trailersAnswer(&v1alpha.HeaderModifications{}, message.Kind == demux.ResponseTrailers)
	}
}

func immediateAnswer(answer *chain.Answer, route string) (out outgoing, err error) {
	immediate := &servicev3.ImmediateResponse{
		Status:  &typev3.HttpStatus{Code: typev3.StatusCode(answer.Status)},
		Headers: &servicev3.HeaderMutation{SetHeaders: setOptions(answer.Headers)},
		Details: answer.Details,
	}
	if answer.GRPCStatus != 0 {
		immediate.GrpcStatus = &servicev3.GrpcStatus{Status: answer.GRPCStatus}
	}
	b := make(builder, 0, messageCapacity+len(route))
	b.routeName(route)
	if err := b.metadata(answer.Analytics, answer.Identity, "", ""); err != nil {
		return out, err
	}
	start := b.open(immediateResponse)
	if b, err = (proto.MarshalOptions{}).MarshalAppend(b, immediate); err != nil {
		return out, err
	}
	b.bytesHead(immediateBody, len(answer.Body))
	b.closeAround(start, len(answer.Body))
	return outgoing{b, answer.Body}, nil
}

func setOptions(headers v1alpha.Headers) []*corev3.HeaderValueOption {
	options := make([]*corev3.HeaderValueOption, 0, len(headers))
	for n, header := range headers {
		option := &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: header.Name, RawValue: []byte(header.Value)}}
		if isRepeated(headers, n) {
			option.Append = wrapperspb.Bool(true) //nolint:staticcheck // see builder.header
		} else {
			option.AppendAction = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		}
		options = append(options, option)
	}
	return options
}

// metadata writes the analytics (any JSON), the request's identity, and the authority and the upstream that policies
// chose, if any.
func (b *builder) metadata(analytics map[string]any, identity *chain.Identity, authority, upstream string) (err error) {
	if authority == "" && upstream == "" && identity == nil && len(analytics) == 0 {
		return nil
	}
	fields := map[string]*structpb.Value{}
	if authority != "" {
		fields[envoynames.AuthorityNamespace] = choiceValue(authority)
	}
	if upstream != "" {
		fields[envoynames.UpstreamNamespace] = choiceValue(upstream)
	}
	if identity != nil {
		fields[envoynames.IdentityNamespace] = identityValue(identity)
	}
	if len(analytics) > 0 {
		values, err := structOf(analytics)
		if err != nil {
			return fmt.Errorf("analytics metadata: %w", err)
		}
		fields[envoynames.AnalyticsNamespace] = structpb.NewStructValue(values)
	}
	metadata := &servicev3.ProcessingResponse{DynamicMetadata: &structpb.Struct{Fields: fields}}
	*b, err = proto.MarshalOptions{}.MarshalAppend(*b, metadata) // concatenated messages are merged
	return err
}

// routeName writes the name of the operation's route for Envoy's logs, where operations share a route; "": nothing.
func (b *builder) routeName(name string) {
	if name == "" {
		return
	}
	metadata := b.open(dynamicMetadata)
	namespace := b.open(structFields)
	b.text(entryKey, envoynames.RouteNamespace)
	value := b.open(entryValue)
	fields := b.open(structValue)
	entry := b.open(structFields)
	b.text(entryKey, envoynames.RouteNameKey)
	text := b.open(entryValue)
	b.text(stringValue, name)
	b.close(text)
	b.close(entry)
	b.close(fields)
	b.close(value)
	b.close(namespace)
	b.close(metadata)
}

// choiceValue wraps a policy's choice the way that routes read it: without one, a route rewrites the host to its
// upstream's own, and goes to its own upstream.
func choiceValue(value string) *structpb.Value {
	return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{envoynames.ChosenValueKey: structpb.NewStringValue(value)}})
}

// identityValue has the fields that an access log reads. The identity came as JSON, so all of it is UTF-8.
func identityValue(identity *chain.Identity) *structpb.Value {
	fields := map[string]*structpb.Value{
		envoynames.IdentitySubjectKey: structpb.NewStringValue(identity.Subject), envoynames.IdentityIssuerKey: structpb.NewStringValue(identity.Issuer),
		envoynames.IdentityMethodKey: structpb.NewStringValue(identity.Method),
	}
	if identity.WithConsumer {
		fields[envoynames.IdentityConsumerKey] = structpb.NewStringValue(identity.Consumer)
		fields[envoynames.IdentityPlanKey] = structpb.NewStringValue(identity.Plan)
	}
	return structpb.NewStructValue(&structpb.Struct{Fields: fields})
}

func structOf(object map[string]any) (*structpb.Struct, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	values := &structpb.Struct{}
	return values, values.UnmarshalJSON(text)
}
