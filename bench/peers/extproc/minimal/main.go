// Command minimal is the least that an ext_proc server can be: it sets one header of each request and of each response.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func main() {
	listen := flag.String("listen", "", "path of the Unix socket to listen on")
	flag.Parse()
	if err := serve(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "minimal:", err)
		os.Exit(1)
	}
}

func serve(path string) error {
	listener, err := net.Listen("unix", path) //nolint:noctx // it listens until the process is stopped
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	server := grpc.NewServer()
	extprocv3.RegisterExternalProcessorServer(server, processor{})
	return server.Serve(listener)
}

type processor struct {
	extprocv3.UnimplementedExternalProcessorServer
}

// Process answers each message of an exchange as it comes.
func (processor) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		response, err := answer(request)
		if err != nil {
			return err
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

func answer(request *extprocv3.ProcessingRequest) (*extprocv3.ProcessingResponse, error) {
	switch request.Request.(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return toRequest, nil
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		return toResponse, nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "expected request or response headers, got %T", request.Request)
}

// The two answers are always the same, and made once.
var (
	toRequest = &extprocv3.ProcessingResponse{
		Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: setHeader("x-peer", "1")},
	}
	toResponse = &extprocv3.ProcessingResponse{
		Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: setHeader("x-peer", "1")},
	}
)

func setHeader(name, value string) *extprocv3.HeadersResponse {
	option := &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, RawValue: []byte(value)},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
	mutation := &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{option}}
	return &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{HeaderMutation: mutation}}
}
