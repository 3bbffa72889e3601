package xds_test

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/policy-engine/internal/xds/bundletest"
)

// refusedByModel reads a path as the most lenient of upstreams: it decodes everything, and reports what remains doubtful.
func refusedByModel(path string) bool {
	decoded := ""
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			decoded += path[i : i+1]
			continue
		}
		octet, err := hex.DecodeString(path[i+1 : min(i+3, len(path))])
		if err != nil || len(octet) != 1 || octet[0] == '/' || octet[0] == '\\' {
			return true
		}
		decoded += string(octet)
		i += 2
	}
	return strings.Contains(decoded, ";") || regexp.MustCompile(`%[0-9A-Fa-f]{2}`).MatchString(decoded)
}

func TestAStrictBundleRefusesWhatIsReadInDifferentWays(t *testing.T) {
	refused := regexp.MustCompile("^(?:" + envoynames.DoubtfulPathPattern + ")$")
	parts := []string{"%", "%2", "2", "5", "f", "F", "c", "C", "3", "b", "B", "/", ";", "x", "z", "%25", "%20", "."}
	unreserved := regexp.MustCompile(`%(?:2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9AaFfEe])`) // Envoy has decoded them
	property.Check(t, func(t *rapid.T) {
		path := "/a/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 7).Draw(t, "parts"), "")
		if unreserved.MatchString(path) {
			t.Skip()
		}
		if got, want := refused.MatchString(path), refusedByModel(path); got != want {
			t.Fatalf("%s: expected refused to be %v, got %v", path, want, got)
		}
	})
}

func TestWithoutStrictPathsAnEscapedSlashIsSentOnToAPlainOne(t *testing.T) {
	matches := regexp.MustCompile("^(?:" + envoynames.EscapedSlashPathPattern + ")$")
	for path, want := range map[string]bool{"/a/%2Fb": true, "/a%2f": true, "/a/%5cb": true, "/a/%5Cb%2f": true, "/a/b": false, "/a/%252f;x": false} {
		if got := matches.MatchString(path); got != want {
			t.Errorf("%s: expected %v, got %v", path, want, got)
		}
	}
}

// firstOf is the first of a bundle's routes, as Envoy gets it.
func firstOf(t fails, b *xds.Bundle) *routev3.Route {
	t.Helper()
	config := &routev3.RouteConfiguration{}
	if err := proto.Unmarshal(compose(t, b).Text(), config); err != nil {
		t.Fatalf("%v", err)
	}
	list := &routev3.RouteList{}
	if err := onPath(config.GetVirtualHosts()[0].GetMatcher(), "/a/b").GetAction().GetTypedConfig().UnmarshalTo(list); err != nil {
		t.Fatalf("%v", err)
	}
	return list.GetRoutes()[0]
}

func TestTheFirstRouteStandsBeforeAllOthers(t *testing.T) {
	if first := firstOf(t, answering(t, "a", "/a")); first.GetName() != "a|307|" {
		t.Errorf("expected the route of escaped slashes, got %v", first)
	}
	message := answeringMessage(t, "a", "/a")
	message.StrictPaths, message.FirstRoute = true, bundletest.StrictFirstRoute("a")
	if first := firstOf(t, bundle(t, message)); first.GetName() != "a|400|" {
		t.Errorf("expected the route that refuses, got %v", first)
	}
}

func TestAFirstRouteThatLetsPathsPassIsRefused(t *testing.T) {
	const answer = `"directResponse":{"status":400}`
	escaped := fmt.Sprintf(`"match":{"safeRegex":{"regex":%q}}`, envoynames.EscapedSlashPathPattern)
	for reason, c := range map[string]struct {
		strict bool
		first  []byte
	}{
		"first_route: expected a route, got none":                        {false, nil},
		"first_route: decode":                                            {false, []byte{0xff}},
		"first_route: match: expected all requests whose path":           {true, bundletest.FirstRoute("a")},
		"first_route: match: expected all requests whose path matches .": {false, bundletest.StrictFirstRoute("a")},
		"match: expected all requests": {false, route(t, fmt.Sprintf(`{"name":"a|400|","match":{"safeRegex":{"regex":%q},"headers":[{"name":"x"}]},%s}`,
			envoynames.EscapedSlashPathPattern, answer))},
		"action: expected direct_response or redirect, got *routev3.Route_Route": {false, route(t, `{"name":"a|400|",`+escaped+`,"route":{"cluster":"c"}}`)},
		"expected the id of one of the bundle's chains":                          {false, route(t, `{"name":"a|400|`+aChain+`",`+escaped+`,`+answer+`}`)},
	} {
		message := bound(t, aChain, wants("R"), sends("SEND NONE SKIP SKIP NONE SKIP", ""))
		message.StrictPaths, message.FirstRoute = c.strict, c.first
		expectMistake(t, message, reason)
	}
}
