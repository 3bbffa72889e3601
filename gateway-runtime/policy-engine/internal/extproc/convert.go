package extproc

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Where things stand in Envoy's dynamic metadata. A route rewrites the host to its upstream's own, unless a policy
// has chosen one: it reads the field "value" of the authority namespace.
const (
	analyticsNamespace = "gatewright"
	authorityNamespace = "gatewright.authority"
)

// ---------------------------------------------------------------- from Envoy

func headOf(headers *servicev3.HttpHeaders) chain.Head {
	lines := headers.GetHeaders().GetHeaders()
	values := valuesOf(lines)
	head := chain.Head{Ended: headers.GetEndOfStream(), Headers: make(v1alpha.Headers, 0, len(lines))}
	for n, line := range lines {
		switch name := line.GetKey(); name {
		case ":method":
			head.Method = values[n]
		case ":path":
			head.Path = values[n]
		case ":authority":
			head.Authority = values[n]
		case ":scheme":
			head.Scheme = values[n]
		case ":status":
			head.Status, _ = strconv.Atoi(values[n]) // Envoy has checked it
		default:
			head.Headers = append(head.Headers, v1alpha.Header{Name: name, Value: values[n]})
		}
	}
	return head
}

// valuesOf makes strings of the lines' values, with one allocation for all their text.
func valuesOf(lines []*corev3.HeaderValue) []string {
	size := 0
	for _, line := range lines {
		size += len(line.GetRawValue())
	}
	var text strings.Builder
	text.Grow(size)
	for _, line := range lines {
		text.Write(line.GetRawValue())
	}
	values, rest := make([]string, len(lines)), text.String()
	for n, line := range lines {
		length := len(line.GetRawValue())
		values[n], rest = rest[:length], rest[length:]
	}
	return values
}

// readAttributes takes what the request attributes say: the route, whose name ends in "|" and the chain's id.
func (f *front) readAttributes(attributes map[string]*structpb.Struct) {
	for _, group := range attributes { // one, under the filter's name
		fields := group.GetFields()
		f.route = fields["xds.route_name"].GetStringValue()
		f.head.ClientAddress = fields["source.address"].GetStringValue()
	}
	f.chainID = f.route[strings.LastIndexByte(f.route, '|')+1:]
	f.head.RequestID = f.head.Headers.Get("x-request-id")
}

// echo answers a piece or trailers with themselves.
func echo(message *servicev3.ProcessingRequest) *servicev3.ProcessingResponse {
	switch m := message.GetRequest().(type) {
	case *servicev3.ProcessingRequest_RequestBody:
		return requestPiece(streamed(m.RequestBody.GetBody(), m.RequestBody.GetEndOfStream()))
	case *servicev3.ProcessingRequest_ResponseBody:
		return responsePiece(streamed(m.ResponseBody.GetBody(), m.ResponseBody.GetEndOfStream()))
	case *servicev3.ProcessingRequest_RequestTrailers:
		return trailersAnswer(false)
	default:
		return trailersAnswer(true)
	}
}

// ---------------------------------------------------------------- to Envoy

func (f *front) headersAnswer(changes chain.Changes) (*servicev3.ProcessingResponse, error) {
	common := &servicev3.CommonResponse{HeaderMutation: headerMutation(changes)}
	if changes.Body != nil {
		common.Status = servicev3.CommonResponse_CONTINUE_AND_REPLACE
		common.BodyMutation = &servicev3.BodyMutation{Mutation: &servicev3.BodyMutation_Body{Body: *changes.Body}}
	}
	answer := &servicev3.HeadersResponse{Response: common}
	metadata, err := dynamicMetadata(changes.Analytics, changes.Authority)
	response := &servicev3.ProcessingResponse{DynamicMetadata: metadata}
	if f.responding {
		response.Response = &servicev3.ProcessingResponse_ResponseHeaders{ResponseHeaders: answer}
	} else {
		response.Response = &servicev3.ProcessingResponse_RequestHeaders{RequestHeaders: answer}
	}
	return response, err
}

func headerMutation(changes chain.Changes) *servicev3.HeaderMutation {
	set := setOptions(nil, changes.Headers.Set)
	for _, header := range changes.Headers.Append {
		set = append(set, add(header.Name, header.Value))
	}
	set = setPseudo(set, ":method", changes.Method)
	set = setPseudo(set, ":path", changes.Path)
	set = setPseudo(set, ":authority", changes.Authority)
	if changes.Status != 0 {
		set = setPseudo(set, ":status", strconv.Itoa(changes.Status))
	}
	if len(set)+len(changes.Headers.Remove) == 0 {
		return nil
	}
	return &servicev3.HeaderMutation{RemoveHeaders: changes.Headers.Remove, SetHeaders: set}
}

// setOptions overwrites with the first value of a name, and appends the others.
func setOptions(to []*corev3.HeaderValueOption, headers []v1alpha.Header) []*corev3.HeaderValueOption {
	for n, header := range headers {
		if v1alpha.Headers(headers[:n]).Has(header.Name) {
			to = append(to, add(header.Name, header.Value))
		} else {
			to = append(to, overwrite(header.Name, header.Value))
		}
	}
	return to
}

func setPseudo(to []*corev3.HeaderValueOption, name, value string) []*corev3.HeaderValueOption {
	if value == "" {
		return to
	}
	return append(to, overwrite(name, value))
}

func overwrite(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, RawValue: []byte(value)},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

var yes = wrapperspb.Bool(true)

// add appends a value. APPEND_IF_EXISTS_OR_ADD is zero, which Envoy's ext_proc cannot tell from unset and takes for
// overwrite; only the old field makes it append.
func add(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, RawValue: []byte(value)},
		Append:       yes, //nolint:staticcheck // see above
		AppendAction: corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD,
	}
}

func (f *front) pieceAnswer(piece []byte, last bool) *servicev3.ProcessingResponse {
	if f.responding {
		return responsePiece(streamed(piece, last))
	}
	return requestPiece(streamed(piece, last))
}

func streamed(piece []byte, last bool) *servicev3.BodyResponse {
	return &servicev3.BodyResponse{Response: &servicev3.CommonResponse{BodyMutation: &servicev3.BodyMutation{
		Mutation: &servicev3.BodyMutation_StreamedResponse{
			StreamedResponse: &servicev3.StreamedBodyResponse{Body: piece, EndOfStream: last},
		},
	}}}
}

func requestPiece(piece *servicev3.BodyResponse) *servicev3.ProcessingResponse {
	return &servicev3.ProcessingResponse{Response: &servicev3.ProcessingResponse_RequestBody{RequestBody: piece}}
}

func responsePiece(piece *servicev3.BodyResponse) *servicev3.ProcessingResponse {
	return &servicev3.ProcessingResponse{Response: &servicev3.ProcessingResponse_ResponseBody{ResponseBody: piece}}
}

func trailersAnswer(response bool) *servicev3.ProcessingResponse {
	answer := &servicev3.TrailersResponse{}
	if response {
		return &servicev3.ProcessingResponse{Response: &servicev3.ProcessingResponse_ResponseTrailers{ResponseTrailers: answer}}
	}
	return &servicev3.ProcessingResponse{Response: &servicev3.ProcessingResponse_RequestTrailers{RequestTrailers: answer}}
}

func immediateAnswer(answer chain.Answer) (*servicev3.ProcessingResponse, error) {
	immediate := &servicev3.ImmediateResponse{
		Status:  &typev3.HttpStatus{Code: typev3.StatusCode(answer.Status)},
		Headers: &servicev3.HeaderMutation{SetHeaders: setOptions(nil, answer.Headers)},
		Body:    answer.Body,
		Details: answer.Details,
	}
	if answer.GRPCStatus != 0 {
		immediate.GrpcStatus = &servicev3.GrpcStatus{Status: answer.GRPCStatus}
	}
	metadata, err := dynamicMetadata(answer.Analytics, "")
	return &servicev3.ProcessingResponse{
		DynamicMetadata: metadata,
		Response:        &servicev3.ProcessingResponse_ImmediateResponse{ImmediateResponse: immediate},
	}, err
}

// dynamicMetadata holds the analytics, whatever JSON can say, and the authority that a policy chose, if any.
func dynamicMetadata(analytics map[string]any, authority string) (*structpb.Struct, error) {
	if authority == "" && len(analytics) == 0 {
		return nil, nil
	}
	fields := map[string]*structpb.Value{}
	if authority != "" {
		chosen := map[string]*structpb.Value{"value": structpb.NewStringValue(authority)}
		fields[authorityNamespace] = structpb.NewStructValue(&structpb.Struct{Fields: chosen})
	}
	if len(analytics) > 0 {
		values, err := structOf(analytics)
		if err != nil {
			return nil, fmt.Errorf("analytics metadata: %w", err)
		}
		fields[analyticsNamespace] = structpb.NewStructValue(values)
	}
	return &structpb.Struct{Fields: fields}, nil
}

func structOf(object map[string]any) (*structpb.Struct, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	values := &structpb.Struct{}
	return values, values.UnmarshalJSON(text)
}
