package xds_test

import (
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/policy-engine/internal/xds"
)

// frontOf is the first of a bundle's routes, as Envoy gets it.
func frontOf(t fails, b *xds.Bundle) *routev3.Route {
	t.Helper()
	config := &routev3.RouteConfiguration{}
	if err := proto.Unmarshal(compose(t, b).Body.GetValue(), config); err != nil {
		t.Fatalf("%v", err)
	}
	list := &routev3.RouteList{}
	if err := onPath(config.GetVirtualHosts()[0].GetMatcher(), "/a/b").GetAction().GetTypedConfig().UnmarshalTo(list); err != nil {
		t.Fatalf("%v", err)
	}
	return list.GetRoutes()[0]
}

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
	message := answeringMessage(t, "a", "/a")
	message.StrictPaths = true
	front := frontOf(t, bundle(t, message))
	if front.GetName() != "a|400|" || front.GetDirectResponse().GetStatus() != 400 {
		t.Fatalf("expected the route that refuses, got %v", front)
	}
	refused := regexp.MustCompile("^(?:" + front.GetMatch().GetSafeRegex().GetRegex() + ")$")
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
	front := frontOf(t, answering(t, "a", "/a"))
	if front.GetRedirect() == nil {
		t.Fatalf("expected a redirect, got %v", front)
	}
	if front.GetTypedPerFilterConfig()["gatewright.logged_path"] == nil {
		t.Error("expected the path to be kept for the access log: Envoy rewrites it before it answers")
	}
	matches := regexp.MustCompile("^(?:" + front.GetMatch().GetSafeRegex().GetRegex() + ")$")
	for path, want := range map[string]bool{"/a/%2Fb": true, "/a%2f": true, "/a/%5cb": true, "/a/%5Cb%2f": true, "/a/b": false, "/a/%252f;x": false} {
		if got := matches.MatchString(path); got != want {
			t.Errorf("%s: expected %v, got %v", path, want, got)
		}
	}
}
