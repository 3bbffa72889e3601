// Package server is the common part of the ext_proc servers.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
)

// Exchange answers the messages of one request and its response, in order.
type Exchange interface {
	Answer(context.Context, *extprocv3.ProcessingRequest) (*extprocv3.ProcessingResponse, error)
}

// Serve listens on a Unix socket until the process is stopped.
func Serve(path string, begin func() Exchange) error {
	listener, err := net.Listen("unix", path) //nolint:noctx // until the process is stopped
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	server := grpc.NewServer()
	extprocv3.RegisterExternalProcessorServer(server, processor{begin: begin})
	return server.Serve(listener)
}

type processor struct {
	extprocv3.UnimplementedExternalProcessorServer
	begin func() Exchange
}

// Process answers each message of an exchange as it comes.
func (p processor) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	exchange := p.begin()
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		response, err := exchange.Answer(stream.Context(), request)
		if err != nil {
			return err
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

// RequestHeaders is the answer to a message with the headers of a request.
func RequestHeaders(mutation *extprocv3.HeaderMutation) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{
		Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: headers(mutation)},
	}
}

// ResponseHeaders is the answer to a message with the headers of a response.
func ResponseHeaders(mutation *extprocv3.HeaderMutation) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{
		Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: headers(mutation)},
	}
}

func headers(mutation *extprocv3.HeaderMutation) *extprocv3.HeadersResponse {
	return &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{HeaderMutation: mutation}}
}

// Set replaces a header, or adds it.
func Set(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, RawValue: []byte(value)},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
