package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

// readGateway reads the Gateway with which a node starts; nil if no file is named.
func readGateway(path string) (*nodev1.Gateway, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--gateway: %w", err)
	}
	gateway := &nodev1.Gateway{}
	if err := proto.Unmarshal(content, gateway); err != nil {
		return nil, fmt.Errorf("--gateway: %s: expected a serialized gatewright.node.v1.Gateway: %w", path, err)
	}
	if _, err := xds.ParseGateway(gateway, xds.ExtProc); err != nil {
		return nil, fmt.Errorf("--gateway: %s: %w", path, err)
	}
	return gateway, nil
}

// gatewayDigest is the digest of the Gateway's file as it is now; "" if there is none, or it cannot be read.
func (e *Engine) gatewayDigest() string {
	gateway, err := readGateway(e.options.Gateway)
	if err != nil {
		return ""
	}
	return gateway.GetDigest()
}

// reloadGateway reads the Gateway's file again and applies it, unless a controller has sent another. If there is an
// error, nothing has changed.
func (e *Engine) reloadGateway(ctx context.Context) error {
	if !e.ready.Load() || e.options.Gateway == "" {
		return errors.New("expected an engine that is ready, and that was started with --gateway")
	}
	gateway, err := readGateway(e.options.Gateway)
	if err != nil {
		return err
	}
	return e.node.ReplaceGateway(ctx, gateway)
}
