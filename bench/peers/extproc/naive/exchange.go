package main

import (
	"context"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	naivepb "gatewright.dev/bench/extproc/gen/naive"
	"gatewright.dev/bench/extproc/server"
)

// The policy's parameters and the metadata of the exchange are sent with every execution.
var (
	parameters = map[string]any{"headerName": "x-peer", "headerValue": "1"}
	metadata   = map[string]any{}
)

// exchange keeps the request, since the response phase sends it again.
type exchange struct {
	bridge  *bridge
	request *naivepb.Message
}

// Answer asks the executor.
func (e *exchange) Answer(ctx context.Context, message *extprocv3.ProcessingRequest) (*extprocv3.ProcessingResponse, error) {
	switch got := message.Request.(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		e.request = messageOf(got.RequestHeaders.GetHeaders().GetHeaders())
		mutation, err := e.execute(ctx, "on_request", nil)
		return server.RequestHeaders(mutation), err
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		mutation, err := e.execute(ctx, "on_response", messageOf(got.ResponseHeaders.GetHeaders().GetHeaders()))
		return server.ResponseHeaders(mutation), err
	}
	return nil, status.Errorf(codes.InvalidArgument, "expected request or response headers, got %T", message.Request)
}

func (e *exchange) execute(ctx context.Context, phase string, response *naivepb.Message) (*extprocv3.HeaderMutation, error) {
	execution, err := e.execution(phase, response)
	if err != nil {
		return nil, err
	}
	answer, err := e.bridge.execute(ctx, execution)
	if err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, status.Error(codes.Internal, answer.Error)
	}
	return mutationOf(answer), nil
}

func (e *exchange) execution(phase string, response *naivepb.Message) (*naivepb.Execution, error) {
	params, err := structpb.NewStruct(parameters)
	if err != nil {
		return nil, err
	}
	shared, err := structpb.NewStruct(metadata)
	if err != nil {
		return nil, err
	}
	return &naivepb.Execution{
		PolicyName: "add-header", PolicyVersion: "v1.0.0", Phase: phase, Parameters: params, Metadata: shared,
		RequestId: first(e.request, "x-request-id"), ApiName: "naive", Operation: "GET /orders/{id}",
		Request: e.request, Response: response,
	}, nil
}

func first(message *naivepb.Message, name string) string {
	if values := message.Headers[name].GetValues(); len(values) > 0 {
		return values[0]
	}
	return ""
}

// messageOf separates Envoy's list into headers and the pseudo-headers of HTTP/2.
func messageOf(listed []*corev3.HeaderValue) *naivepb.Message {
	message := &naivepb.Message{Headers: map[string]*naivepb.Values{}}
	pseudo := map[string]*string{
		":method": &message.Method, ":path": &message.Path, ":authority": &message.Authority, ":scheme": &message.Scheme,
	}
	for _, header := range listed {
		value := string(header.RawValue)
		if field, found := pseudo[header.Key]; found {
			*field = value
		} else if header.Key == ":status" {
			status, _ := strconv.ParseInt(value, 10, 32) // Envoy's, always a number
			message.Status = int32(status)
		} else {
			add(message.Headers, header.Key, value)
		}
	}
	return message
}

func add(headers map[string]*naivepb.Values, name, value string) {
	if headers[name] == nil {
		headers[name] = &naivepb.Values{}
	}
	headers[name].Values = append(headers[name].Values, value)
}

func mutationOf(answer *naivepb.Answer) *extprocv3.HeaderMutation {
	mutation := &extprocv3.HeaderMutation{RemoveHeaders: answer.RemoveHeaders}
	for name, values := range answer.SetHeaders {
		for _, value := range values.Values {
			mutation.SetHeaders = append(mutation.SetHeaders, server.Set(name, value))
		}
	}
	return mutation
}
