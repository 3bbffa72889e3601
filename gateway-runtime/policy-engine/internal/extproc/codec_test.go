package extproc

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/extproc/demux"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

// The measure of the codec is generated code.

var (
	anyName  = rapid.SampledFrom([]string{":method", ":path", ":authority", ":scheme", ":status", "x-request-id", "x-a", "é", ""})
	anyBytes = rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 200), bytes.Clone)
	anyMode  = rapid.Map(rapid.IntRange(0, 5), func(mode int) filterv3.ProcessingMode_BodySendMode {
		return filterv3.ProcessingMode_BodySendMode(mode)
	})
	anyHeaders = rapid.Custom(func(t *rapid.T) *corev3.HeaderMap {
		headers := &corev3.HeaderMap{}
		for range rapid.IntRange(0, 5).Draw(t, "headers") {
			headers.Headers = append(headers.Headers, &corev3.HeaderValue{
				Key: anyName.Draw(t, "name"), Value: rapid.StringN(0, 3, -1).Draw(t, "text"), RawValue: anyBytes.Draw(t, "value"),
			})
		}
		return headers
	})
	anyStruct = rapid.Custom(func(t *rapid.T) *structpb.Struct {
		list := structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewNumberValue(1)}})
		values := rapid.SampledFrom([]*structpb.Value{structpb.NewStringValue("a|b"), structpb.NewBoolValue(true), list, {}, structpb.NewNullValue()})
		names := rapid.SampledFrom([]string{envoynames.RouteNameAttribute, envoynames.ClientAddressAttribute, envoynames.PeerAttribute, envoynames.EnvoyMinorAttribute, envoynames.TraceTokenKey, "other"})
		return &structpb.Struct{Fields: rapid.MapOfN(names, values, 0, 3).Draw(t, "fields")}
	})
)

// anyRequest has all fields that the engine reads, and some that it does not.
var anyRequest = rapid.Custom(func(t *rapid.T) *servicev3.ProcessingRequest {
	message := &servicev3.ProcessingRequest{ObservabilityMode: rapid.Bool().Draw(t, "observability")}
	if rapid.Bool().Draw(t, "attributes") {
		message.Attributes = map[string]*structpb.Struct{"filter": anyStruct.Draw(t, "attributes")}
	}
	if rapid.Bool().Draw(t, "modes") {
		message.ProtocolConfig = &servicev3.ProtocolConfiguration{RequestBodyMode: anyMode.Draw(t, "request"),
			ResponseBodyMode: anyMode.Draw(t, "response"), SendBodyWithoutWaitingForHeaderResponse: rapid.Bool().Draw(t, "early")}
	}
	if rapid.Bool().Draw(t, "metadata") {
		message.MetadataContext = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"a": anyStruct.Draw(t, "context"), envoynames.TraceNamespace: anyStruct.Draw(t, "trace")}}
	}
	ended := rapid.Bool().Draw(t, "ended")
	headers := &servicev3.HttpHeaders{Headers: anyHeaders.Draw(t, "headers"), EndOfStream: ended}
	body := &servicev3.HttpBody{Body: anyBytes.Draw(t, "body"), EndOfStream: ended, GrpcMessageCompressed: rapid.Bool().Draw(t, "compressed")}
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 1:
		message.Request = &servicev3.ProcessingRequest_RequestHeaders{RequestHeaders: headers}
	case 2:
		message.Request = &servicev3.ProcessingRequest_ResponseHeaders{ResponseHeaders: headers}
	case 3:
		message.Request = &servicev3.ProcessingRequest_RequestBody{RequestBody: body}
	case 4:
		message.Request = &servicev3.ProcessingRequest_ResponseBody{ResponseBody: body}
	case 5:
		trailers := &servicev3.HttpTrailers{Trailers: anyHeaders.Draw(t, "trailers")}
		message.Request = &servicev3.ProcessingRequest_RequestTrailers{RequestTrailers: trailers}
	case 6:
		message.Request = &servicev3.ProcessingRequest_ResponseTrailers{ResponseTrailers: &servicev3.HttpTrailers{}}
	}
	return message
})

// read is the expected result of decode.
func read(message *servicev3.ProcessingRequest) incoming {
	want := incoming{requestMode: message.GetProtocolConfig().GetRequestBodyMode(), responseMode: message.GetProtocolConfig().GetResponseBodyMode()}
	for _, group := range message.GetAttributes() {
		want.route = group.GetFields()["xds.route_name"].GetStringValue()
		want.client = group.GetFields()["source.address"].GetStringValue()
		want.minor = toMinor(group.GetFields()[envoynames.EnvoyMinorAttribute].GetNumberValue())
		want.certificate = group.GetFields()[envoynames.PeerAttribute].GetStringValue()
	}
	want.token = message.GetMetadataContext().GetFilterMetadata()[envoynames.TraceNamespace].GetFields()[envoynames.TraceTokenKey].GetStringValue()
	headers, body := message.GetRequestHeaders(), message.GetRequestBody()
	switch message.GetRequest().(type) {
	case *servicev3.ProcessingRequest_RequestHeaders:
		want.Kind = demux.RequestHeaders
	case *servicev3.ProcessingRequest_ResponseHeaders:
		want.Kind, headers = demux.ResponseHeaders, message.GetResponseHeaders()
	case *servicev3.ProcessingRequest_RequestBody:
		want.Kind = demux.RequestBody
	case *servicev3.ProcessingRequest_ResponseBody:
		want.Kind, body = demux.ResponseBody, message.GetResponseBody()
	case *servicev3.ProcessingRequest_RequestTrailers:
		want.Kind = demux.RequestTrailers
	case *servicev3.ProcessingRequest_ResponseTrailers:
		want.Kind = demux.ResponseTrailers
	}
	want.Ended, want.Head.Ended = headers.GetEndOfStream() || body.GetEndOfStream(), headers.GetEndOfStream()
	want.Piece = body.GetBody()
	for _, line := range headers.GetHeaders().GetHeaders() {
		addHeader(&want.Head, v1alpha.Header{Name: line.GetKey(), Value: string(line.GetRawValue())})
	}
	return want
}

// sameIncoming treats nil and empty alike.
func sameIncoming(a, b incoming) bool {
	for _, m := range []*incoming{&a, &b} {
		m.Piece = append([]byte{}, m.Piece...)
		m.Head.Headers = append(v1alpha.Headers{}, m.Head.Headers...)
		m.Trailers = "" // they stay encoded
	}
	return reflect.DeepEqual(a, b)
}

func TestDecodeReadsWhatGeneratedCodeReads(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		message := anyRequest.Draw(t, "message")
		wire, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		got := incoming{Message: demux.Message{Piece: []byte("left over")}}
		if err := got.decode(wire); err != nil {
			t.Fatal(err)
		}
		if want := read(message); !sameIncoming(want, got) {
			t.Errorf("expected %+v, got %+v", want, got)
		}
		for cut := range wire {
			refused := proto.Unmarshal(wire[:cut], &servicev3.ProcessingRequest{}) != nil
			if err := got.decode(wire[:cut]); (err != nil) != refused {
				t.Errorf("%d of %d bytes: generated code refuses: %v; got %v", cut, len(wire), refused, err)
			}
		}
	})
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	request := func(headers string) string {
		return "\x12" + string(rune(len(headers)+2)) + "\x0a" + string(rune(len(headers))) + headers
	}
	for name, wire := range map[string]string{
		"field number 0":         "\x00\x00",
		"a group":                "\x13\x14",
		"a varint too long":      "\x50" + strings.Repeat("\xff", 10) + "\x01",
		"a varint cut off":       "\x50\xff",
		"a length too large":     "\x12\x05\x0a",
		"a length without end":   "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"fixed32 cut off":        "\x7d\x00",
		"two requests":           "\x12\x00\x1a\x00",
		"the same request twice": "\x12\x00\x12\x00",
		"attributes twice":       attributes("") + "\x4a\x04\x12\x00\x12\x00",
		"an attribute twice":     attributes("\x0a" + sized(entry("xds.route_name", "")+"\x12\x00")),
		"a name not in UTF-8":    request("\x0a\x03\x0a\x01\xff"),
		"a value not in UTF-8":   request("\x0a\x03\x12\x01\xff"),
		"a header cut off":       request("\x0a\x03\x1a\x05\x00"),
		"a route not in UTF-8":   "\x4a\x19\x12\x17\x0a\x15\x0a\x0exds.route_name\x12\x03\x1a\x01\xff",
	} {
		if err := new(incoming).decode([]byte(wire)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := new(incoming).decode([]byte(request("\x0a\x06\x0a\x01a\x1a\x01\xff"))); err != nil {
		t.Errorf("a raw value of any bytes: %v", err)
	}
}

// ---------------------------------------------------------------- outgoing

var anyList = rapid.Custom(func(t *rapid.T) (list []v1alpha.Header) {
	for range rapid.IntRange(0, 4).Draw(t, "headers") {
		list = append(list, v1alpha.Header{Name: rapid.SampledFrom([]string{"x-a", "x-b"}).Draw(t, "name"), Value: string(anyBytes.Draw(t, "value"))})
	}
	return list
})

var anyChanges = rapid.Custom(func(t *rapid.T) *chain.Changes {
	text := rapid.SampledFrom([]string{"", "a", strings.Repeat("b", 300)})
	changes := &chain.Changes{
		Headers: v1alpha.HeaderModifications{Set: anyList.Draw(t, "set"), Append: anyList.Draw(t, "append"),
			Remove: rapid.SliceOfN(rapid.SampledFrom([]string{"x-c", "x-d"}), 0, 3).Draw(t, "remove")},
		Method: text.Draw(t, "method"), Path: text.Draw(t, "path"), Authority: text.Draw(t, "authority"),
		Upstream: text.Draw(t, "upstream"),
		Status:   rapid.SampledFrom([]int{0, 203}).Draw(t, "status"),
	}
	if rapid.Bool().Draw(t, "replaces the body") {
		body := bytes.Repeat([]byte("x"), rapid.SampledFrom([]int{0, 1, 200, 20000, 3 << 20}).Draw(t, "size"))
		changes.Body = &body
	}
	if rapid.Bool().Draw(t, "analytics") {
		changes.Analytics = map[string]any{"tenant": "acme"}
	}
	return changes
})

// written is the expected result of headersAnswer.
func written(changes *chain.Changes, response bool) *servicev3.ProcessingResponse {
	mutation := &servicev3.HeaderMutation{RemoveHeaders: changes.Headers.Remove, SetHeaders: setOptions(changes.Headers.Set)}
	for _, header := range changes.Headers.Append {
		mutation.SetHeaders = append(mutation.SetHeaders, &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: header.Name, RawValue: []byte(header.Value)}, Append: wrapperspb.Bool(true)}) //nolint:staticcheck // see builder.header
	}
	status := ""
	if changes.Status != 0 {
		status = "203"
	}
	for _, pseudo := range [][2]string{{":method", changes.Method}, {":path", changes.Path}, {":status", status}} {
		if pseudo[1] != "" {
			mutation.SetHeaders = append(mutation.SetHeaders, setOptions(v1alpha.Headers{{Name: pseudo[0], Value: pseudo[1]}})...)
		}
	}
	common := &servicev3.CommonResponse{}
	if len(mutation.SetHeaders)+len(mutation.RemoveHeaders) > 0 {
		common.HeaderMutation = mutation
	}
	if changes.Body != nil {
		common.Status = servicev3.CommonResponse_CONTINUE_AND_REPLACE
		common.BodyMutation = &servicev3.BodyMutation{Mutation: &servicev3.BodyMutation_Body{Body: *changes.Body}}
	}
	return withResponse(&servicev3.HeadersResponse{Response: common}, changes, response)
}

func withResponse(answer *servicev3.HeadersResponse, changes *chain.Changes, response bool) *servicev3.ProcessingResponse {
	message := &servicev3.ProcessingResponse{Response: &servicev3.ProcessingResponse_RequestHeaders{RequestHeaders: answer}}
	if response {
		message.Response = &servicev3.ProcessingResponse_ResponseHeaders{ResponseHeaders: answer}
	}
	namespaces := map[string]any{}
	if changes.Authority != "" {
		namespaces[envoynames.AuthorityNamespace] = map[string]any{"value": changes.Authority}
	}
	if changes.Upstream != "" {
		namespaces[envoynames.UpstreamNamespace] = map[string]any{"value": changes.Upstream}
	}
	if changes.Analytics != nil {
		namespaces[envoynames.AnalyticsNamespace] = changes.Analytics
	}
	if len(namespaces) > 0 {
		message.DynamicMetadata = must(structpb.NewStruct(namespaces))
	}
	return message
}

func TestGeneratedCodeReadsTheAnswerToHeaders(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		changes, response := anyChanges.Draw(t, "changes"), rapid.Bool().Draw(t, "response")
		route := rapid.SampledFrom([]string{"", "orders|GET /items/{id}|0123", strings.Repeat("x", 300)}).Draw(t, "route")
		want, got := written(changes, response), decoded(t, must(headersAnswer(changes, route, response)))
		if route != "" {
			if want.DynamicMetadata == nil {
				want.DynamicMetadata = &structpb.Struct{Fields: map[string]*structpb.Value{}}
			}
			want.DynamicMetadata.Fields["gatewright.route"] = must(structpb.NewValue(map[string]any{"name": route}))
		}
		if !proto.Equal(want, got) {
			t.Errorf("expected %.500v, got %.500v", want, got)
		}
	})
}

func TestGeneratedCodeReadsPiecesAndTrailers(t *testing.T) {
	for _, size := range []int{0, 1, 100, 127, 128, 16383, 16384, pieceSize, 3 << 20} {
		for _, last := range []bool{true, false} {
			piece := bytes.Repeat([]byte("x"), size)
			want := &servicev3.BodyResponse{Response: &servicev3.CommonResponse{BodyMutation: &servicev3.BodyMutation{
				Mutation: &servicev3.BodyMutation_StreamedResponse{StreamedResponse: &servicev3.StreamedBodyResponse{Body: piece, EndOfStream: last}}}}}
			for got, want := range map[*servicev3.BodyResponse]*servicev3.BodyResponse{
				decoded(t, pieceAnswer(piece, last, false)).GetRequestBody(): want,
				decoded(t, pieceAnswer(piece, last, true)).GetResponseBody(): want,
			} {
				if !proto.Equal(want, got) {
					t.Errorf("%d bytes, last: %v: got %.100v", size, last, got)
				}
			}
		}
	}
	none := &v1alpha.HeaderModifications{}
	if decoded(t, trailersAnswer(none, false)).GetRequestTrailers() == nil || decoded(t, trailersAnswer(none, true)).GetResponseTrailers() == nil {
		t.Error("expected trailers")
	}
	changes := &v1alpha.HeaderModifications{Remove: []string{"x-a"}, Set: []v1alpha.Header{{Name: "x-b", Value: "1"}, {Name: "x-b", Value: "2"}}}
	got := decoded(t, trailersAnswer(changes, true)).GetResponseTrailers().GetHeaderMutation()
	want := &servicev3.HeaderMutation{RemoveHeaders: changes.Remove, SetHeaders: setOptions(v1alpha.Headers(changes.Set))}
	if !proto.Equal(want, got) {
		t.Errorf("expected the trailers %v, got %v", want, got)
	}
}

func TestAnalyticsGoWithTheLastPieceAndWithTrailers(t *testing.T) {
	for name, message := range map[string]outgoing{
		"piece": pieceAnswer([]byte("last"), true, true), "trailers": trailersAnswer(&v1alpha.HeaderModifications{Remove: []string{"x-a"}}, true),
	} {
		want := decoded(t, message)
		want.DynamicMetadata = must(structpb.NewStruct(map[string]any{envoynames.AnalyticsNamespace: map[string]any{"n": 3}}))
		if err := message.addAnalytics(map[string]any{"n": 3}); err != nil {
			t.Error(err)
		}
		if got := decoded(t, message); !proto.Equal(want, got) {
			t.Errorf("%s: expected %v, got %v", name, want, got)
		}
	}
	message := pieceAnswer(nil, true, true)
	if err := message.addAnalytics(map[string]any{"n": make(chan int)}); err == nil {
		t.Error("expected an error for a value that is no JSON")
	}
}

func TestGeneratedCodeReadsAnImmediateAnswer(t *testing.T) {
	for _, size := range []int{0, 1, 100, 127, 128, 16383, 16384, 3 << 20} {
		answer := chain.Answer{Status: 403, Headers: v1alpha.Headers{{Name: "x-why", Value: "no"}}, Body: bytes.Repeat([]byte("x"), size),
			Details: "policy_answer", GRPCStatus: 7, Analytics: map[string]any{"who": "me"}}
		got := decoded(t, must(immediateAnswer(&answer, "a|GET /|0123")))
		immediate := got.GetImmediateResponse()
		if immediate.GetStatus().GetCode() != 403 || !bytes.Equal(immediate.GetBody(), answer.Body) || immediate.GetDetails() != "policy_answer" ||
			immediate.GetGrpcStatus().GetStatus() != 7 || string(immediate.GetHeaders().GetSetHeaders()[0].GetHeader().GetRawValue()) != "no" {
			t.Errorf("%d bytes: got %.300v", size, immediate)
		}
		if fields := got.GetDynamicMetadata().GetFields(); fields[envoynames.AnalyticsNamespace].GetStructValue().GetFields()["who"].GetStringValue() != "me" {
			t.Errorf("%d bytes: got the metadata %v", size, fields)
		}
	}
}

func decoded(t interface{ Fatal(...any) }, wire outgoing) *servicev3.ProcessingResponse {
	message := &servicev3.ProcessingResponse{}
	if err := proto.Unmarshal(slices.Concat(wire.head, wire.body), message); err != nil {
		t.Fatal(err)
	}
	return message
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// TestAnIdentityHasTheFieldsOfTheAccessLog, and those of a consumer only for one that is one, or was.
func TestAnIdentityHasTheFieldsOfTheAccessLog(t *testing.T) {
	for _, c := range []struct {
		identity chain.Identity
		want     map[string]any
	}{
		{chain.Identity{Subject: "ann", Issuer: "id", Method: "jwt"}, map[string]any{"subject": "ann", "issuer": "id", "method": "jwt"}},
		{chain.Identity{Subject: "ann", Consumer: "acme", Plan: "gold", WithConsumer: true},
			map[string]any{"subject": "ann", "issuer": "", "method": "", "consumer": "acme", "plan": "gold"}},
		{chain.Identity{Subject: "ann", WithConsumer: true},
			map[string]any{"subject": "ann", "issuer": "", "method": "", "consumer": "", "plan": ""}},
	} {
		out, err := headersAnswer(&chain.Changes{Identity: &c.identity}, "", false)
		if err != nil {
			t.Fatal(err)
		}
		message := &servicev3.ProcessingResponse{}
		if err := proto.Unmarshal(out.head, message); err != nil {
			t.Fatal(err)
		}
		got := message.GetDynamicMetadata().GetFields()[envoynames.IdentityNamespace].GetStructValue().AsMap()
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("expected %v, got %v", c.want, got)
		}
	}
}
