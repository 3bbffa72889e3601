package inside_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_modules/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	// What the listener of an empty Gateway has in an Any.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_to_metadata/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_metadata/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/xds/inside"
)

// emptyGateway is the listener of an empty Gateway, as the controller makes it, with a second chain that serves other connections.
func emptyGateway(t *testing.T) *listenerv3.Listener {
	t.Helper()
	text, err := os.ReadFile("../../../../envoy/listener.json")
	must(t, err)
	listener := &listenerv3.Listener{}
	must(t, protojson.Unmarshal(text, listener))
	listener.DefaultFilterChain = proto.CloneOf(listener.GetFilterChains()[0])
	return listener
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// changeManagers changes the HTTP connection managers of a listener of emptyGateway.
func changeManagers(t *testing.T, listener *listenerv3.Listener, change func(*hcmv3.HttpConnectionManager)) {
	t.Helper()
	for _, chain := range []*listenerv3.FilterChain{listener.GetFilterChains()[0], listener.GetDefaultFilterChain()} {
		manager, packed := &hcmv3.HttpConnectionManager{}, chain.GetFilters()[len(chain.GetFilters())-1].GetTypedConfig()
		must(t, packed.UnmarshalTo(manager))
		change(manager)
		must(t, anypb.MarshalFrom(packed, manager, proto.MarshalOptions{Deterministic: true}))
	}
}

func TestAListenerHasTheFilterBehindExtProcAndIsElseTheSame(t *testing.T) {
	want, got := emptyGateway(t), emptyGateway(t)
	must(t, inside.Listener(got))
	changed := 0
	changeManagers(t, got, func(manager *hcmv3.HttpConnectionManager) {
		for i, filter := range manager.GetHttpFilters() {
			if filter.GetName() == envoynames.EngineFilter {
				checkFilter(t, filter, manager.GetHttpFilters()[i-1])
				manager.HttpFilters = slices.Delete(manager.GetHttpFilters(), i, i+1)
				changed++
				return
			}
		}
	})
	changeManagers(t, want, func(*hcmv3.HttpConnectionManager) {}) // serialized the same way
	if changed != 2 || !proto.Equal(want, got) {
		t.Errorf("expected the filter in both chains, and all else to stay, got it %d times and %v", changed, got)
	}
}

func checkFilter(t *testing.T, filter, before *hcmv3.HttpFilter) {
	t.Helper()
	if !filter.GetDisabled() || before.GetName() != envoynames.ExtProcFilter {
		t.Errorf("expected a disabled filter behind ext_proc, got %v behind %q", filter, before.GetName())
	}
	config := &filterv3.DynamicModuleFilter{}
	must(t, filter.GetTypedConfig().UnmarshalTo(config))
	if module := config.GetDynamicModuleConfig(); module.GetName() != "gatewright" || !module.GetDoNotClose() || config.GetFilterName() != "gatewright" {
		t.Errorf("expected the filter gatewright of the module gatewright, which is never closed, got %v", config)
	}
}

func TestAListenerThatRunsNoPoliciesStays(t *testing.T) {
	listener := emptyGateway(t)
	changeManagers(t, listener, func(manager *hcmv3.HttpConnectionManager) {
		manager.HttpFilters = manager.GetHttpFilters()[len(manager.GetHttpFilters())-1:]
	})
	before := proto.CloneOf(listener)
	must(t, inside.Listener(listener))
	if !proto.Equal(listener, before) {
		t.Errorf("expected a listener that redirects to stay, got %v", listener)
	}
}

// routeWith is a route as the controller makes it: forwarding, with its path kept for the log, and with this of ext_proc.
func routeWith(t *testing.T, extProc string) *routev3.Route {
	t.Helper()
	route := &routev3.Route{}
	must(t, protojson.Unmarshal([]byte(`{"name":"a|GET /|0123456789abcdef0123456789abcdef","match":{"path":"/a"},"metadata":{"filterMetadata":{"x":{"y":"z"}}},
		"route":{"cluster":"c","timeout":"0s","upgradeConfigs":[{"upgradeType":"websocket"}]},
		"typedPerFilterConfig":{"gatewright.logged_path":{"@type":"type.googleapis.com/envoy.config.route.v3.FilterConfig","config":{}}}}`), route))
	if extProc != "" {
		perRoute := &extprocv3.ExtProcPerRoute{}
		must(t, protojson.Unmarshal([]byte(extProc), perRoute))
		packed, err := anypb.New(perRoute)
		must(t, err)
		route.TypedPerFilterConfig[envoynames.ExtProcFilter] = packed
	}
	return route
}

func modes(t *testing.T, fields map[string]string, failsOpen bool) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"overrides": map[string]any{"processingMode": fields, "failureModeAllow": failsOpen}})
	must(t, err)
	return string(text)
}

func TestARouteWithoutBodiesGoesToTheEnginesFilter(t *testing.T) {
	for name, extProc := range map[string]string{
		"request headers": modes(t, map[string]string{"requestHeaderMode": "SEND", "responseHeaderMode": "SKIP", "requestTrailerMode": "SKIP", "responseTrailerMode": "SKIP"}, false),
		"both headers":    modes(t, map[string]string{"requestHeaderMode": "SEND", "responseHeaderMode": "SEND", "requestBodyMode": "NONE"}, false),
		"fails open":      modes(t, map[string]string{"requestHeaderMode": "SEND", "responseHeaderMode": "SKIP"}, true),
	} {
		route, before := routeWith(t, extProc), routeWith(t, extProc)
		must(t, inside.Route(route))
		config := &filterv3.DynamicModuleFilterPerRoute{}
		must(t, route.GetTypedPerFilterConfig()[envoynames.EngineFilter].UnmarshalTo(config))
		if module := config.GetDynamicModuleConfig(); module.GetName() != "gatewright" || !module.GetDoNotClose() || config.GetFilterName() != "gatewright" {
			t.Errorf("%s: expected the filter gatewright of the module gatewright, got %v", name, config)
		}
		word := &wrapperspb.StringValue{}
		if config.GetFilterConfig() != nil {
			must(t, config.GetFilterConfig().UnmarshalTo(word))
		}
		if failsOpen := word.GetValue() == "failure_mode_allow"; failsOpen != (name == "fails open") {
			t.Errorf("%s: expected the module to be told that a route fails open, and no other, got %q", name, word.GetValue())
		}
		delete(route.GetTypedPerFilterConfig(), envoynames.EngineFilter)
		delete(before.GetTypedPerFilterConfig(), envoynames.ExtProcFilter)
		if !proto.Equal(route, before) {
			t.Errorf("%s: expected ext_proc to be gone, and all else to stay, got %v", name, route)
		}
	}
}

func TestOtherRoutesStay(t *testing.T) {
	for name, extProc := range map[string]string{
		"no policies":       "",
		"request body":      modes(t, map[string]string{"requestBodyMode": "FULL_DUPLEX_STREAMED", "requestTrailerMode": "SEND"}, false),
		"response body":     modes(t, map[string]string{"responseBodyMode": "FULL_DUPLEX_STREAMED", "responseTrailerMode": "SEND"}, false),
		"another mode":      modes(t, map[string]string{"responseBodyMode": "BUFFERED"}, false),
		"request trailers":  modes(t, map[string]string{"requestTrailerMode": "SEND"}, false),
		"response trailers": modes(t, map[string]string{"responseTrailerMode": "SEND"}, false),
		"the filter's own":  `{"overrides":{}}`,
		"disabled":          `{"disabled":true}`,
	} {
		route, before := routeWith(t, extProc), routeWith(t, extProc)
		must(t, inside.Route(route))
		if !proto.Equal(route, before) {
			t.Errorf("%s: expected the route to stay, got %v", name, route)
		}
	}
}

func TestARouteWhoseExtProcIsOfAnotherTypeIsRefused(t *testing.T) {
	route := routeWith(t, "")
	route.TypedPerFilterConfig[envoynames.ExtProcFilter] = route.GetTypedPerFilterConfig()["gatewright.logged_path"]
	if err := inside.Route(route); err == nil {
		t.Error("expected an error, got none")
	}
}
