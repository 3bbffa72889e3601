package policyengine

import (
	_ "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	_ "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	_ "go.uber.org/goleak"
	_ "google.golang.org/grpc"
	_ "pgregory.net/rapid"
)
