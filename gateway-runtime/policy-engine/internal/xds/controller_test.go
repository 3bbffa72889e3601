package xds_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"gatewright.dev/policy-engine/gen/envoynames"
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
		outside, inEnvoy := sentRoutes(t, file, message, xds.ExtProc), sentRoutes(t, file, message, xds.InEnvoy)
		if !slices.Equal(outside, inEnvoy) {
			t.Errorf("%s: expected the same routes to be sent to an engine inside Envoy, got %v, and %v to one beside it", file, inEnvoy, outside)
		}
	}
}

// sentRoutes returns the names of a bundle's routes that are sent to the engine, and checks for each that it is enabled for the filter
// that an engine in this place has for it, and for no other.
func sentRoutes(t *testing.T, file string, message *nodev1.ApiBundle, engine xds.Engine) (names []string) {
	t.Helper()
	parsed, err := xds.ParseBundle(message, engine)
	if err != nil {
		t.Errorf("%s: %v", file, err)
		return nil
	}
	config := &routev3.RouteConfiguration{}
	if text := xds.Compose([]*xds.Bundle{parsed}, xds.Front{}).Text(); proto.Unmarshal(text, config) != nil {
		t.Errorf("%s: expected a route configuration, got %q", file, text)
	}
	for _, route := range routesIn(t, config.ProtoReflect()) {
		extProc, inside := route.GetTypedPerFilterConfig()[envoynames.ExtProcFilter], route.GetTypedPerFilterConfig()[envoynames.EngineFilter]
		if extProc == nil && inside == nil {
			continue
		}
		names = append(names, route.GetName())
		if wantsInside := engine == xds.InEnvoy && (extProc == nil || !wantsBody(t, extProc)); wantsInside != (inside != nil) || wantsInside == (extProc != nil) {
			t.Errorf("%s: %s: expected the filter in Envoy: %t, got it: %t, and ext_proc: %t", file, route.GetName(), wantsInside, inside != nil, extProc != nil)
		}
	}
	slices.Sort(names)
	return names
}

// routesIn returns the routes anywhere in a message.
func routesIn(t *testing.T, message protoreflect.Message) (routes []*routev3.Route) {
	t.Helper()
	switch typed := message.Interface().(type) {
	case *routev3.Route:
		return []*routev3.Route{typed}
	case *anypb.Any:
		inner, err := typed.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		return routesIn(t, inner.ProtoReflect())
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, item protoreflect.Value) bool {
				routes = append(routes, routesIn(t, item.Message())...)
				return true
			})
		case field.IsList() && field.Message() != nil:
			for n := range value.List().Len() {
				routes = append(routes, routesIn(t, value.List().Get(n).Message())...)
			}
		case !field.IsMap() && field.Message() != nil:
			routes = append(routes, routesIn(t, value.Message())...)
		}
		return true
	})
	return routes
}

func wantsBody(t *testing.T, packed *anypb.Any) bool {
	t.Helper()
	config := &filterv3.ExtProcPerRoute{}
	if err := packed.UnmarshalTo(config); err != nil {
		t.Fatal(err)
	}
	modes := config.GetOverrides().GetProcessingMode()
	return modes.GetRequestBodyMode() != filterv3.ProcessingMode_NONE || modes.GetResponseBodyMode() != filterv3.ProcessingMode_NONE
}
