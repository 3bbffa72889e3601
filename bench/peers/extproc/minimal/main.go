// Command minimal is a minimal ext_proc server: it sets one header of each request and of each response.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gatewright.dev/bench/extproc/server"
)

func main() {
	listen := flag.String("listen", "", "path of the Unix socket to listen on")
	flag.Parse()
	if err := server.Serve(*listen, func() server.Exchange { return exchange{} }); err != nil {
		fmt.Fprintln(os.Stderr, "minimal:", err)
		os.Exit(1)
	}
}

// The two answers never change, so they are made once.
var (
	setPeer    = &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{server.Set("x-peer", "1")}}
	toRequest  = server.RequestHeaders(setPeer)
	toResponse = server.ResponseHeaders(setPeer)
)

type exchange struct{}

// Answer returns the answer to headers of a request or of a response.
func (exchange) Answer(_ context.Context, message *extprocv3.ProcessingRequest) (*extprocv3.ProcessingResponse, error) {
	switch message.Request.(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return toRequest, nil
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		return toResponse, nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "expected request or response headers, got %T", message.Request)
}
