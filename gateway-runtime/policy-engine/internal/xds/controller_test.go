package xds_test

import (
	"os"
	"path/filepath"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

// TestBundlesOfTheControllerAreAccepted applies the checks to the controller's output: its tests put bundles into a
// folder, and name that (gateway-controller/tests/translate/test_routing.py).
func TestBundlesOfTheControllerAreAccepted(t *testing.T) {
	folder := os.Getenv("GATEWRIGHT_BUNDLES")
	if folder == "" {
		t.Skip("no GATEWRIGHT_BUNDLES: the controller's tests set it")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.bundle"))
	if err != nil || len(files) == 0 {
		t.Fatalf("expected bundles in %s, got none: %v", folder, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // a test's folder
		if err != nil {
			t.Fatal(err)
		}
		message := &nodev1.ApiBundle{}
		if err := proto.Unmarshal(text, message); err != nil {
			t.Fatal(err)
		}
		parsed, err := xds.ParseBundle(message)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if text := xds.Compose([]*xds.Bundle{parsed}, xds.Front{}).Text(); proto.Unmarshal(text, &routev3.RouteConfiguration{}) != nil {
			t.Errorf("%s: expected a route configuration, got %q", file, text)
		}
	}
}
