package xds_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// ownerByModel is a naive model of Compose: of the APIs that cover the host, those with the longest context that the
// path lies under; of these, those with the most specific host; of these, the first by name.
func ownerByModel(bundles []*xds.Bundle, hosts []string, host, path string) string {
	virtual := virtualHostByModel(hosts, host)
	type claim struct {
		context, kind, pattern int
		api                    string
	}
	var best *claim
	for _, b := range bundles {
		for _, pattern := range b.Hosts {
			if virtual == "" || !liesUnder(b.Context, path) || !matches(pattern, virtual) {
				continue
			}
			c := &claim{len(b.Context), kind(pattern), len(pattern), b.API}
			if best == nil || slices.Compare([]int{best.context, best.kind, best.pattern}, []int{c.context, c.kind, c.pattern}) < 0 ||
				(best.context == c.context && best.kind == c.kind && best.pattern == c.pattern && c.api < best.api) {
				best = c
			}
		}
	}
	if best == nil {
		return ""
	}
	return best.api
}

func liesUnder(context, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	return context == "/" || path == context || strings.HasPrefix(path, context+"/")
}

func kind(pattern string) int {
	switch {
	case pattern == "*":
		return 0
	case strings.HasSuffix(pattern, "*"):
		return 1
	case strings.HasPrefix(pattern, "*"):
		return 2
	}
	return 3
}

func matches(pattern, host string) bool {
	switch kind(pattern) {
	case 0:
		return true
	case 1:
		return strings.HasPrefix(host, strings.TrimSuffix(pattern, "*")) && len(host) >= len(pattern)
	case 2:
		return strings.HasSuffix(host, strings.TrimPrefix(pattern, "*")) && len(host) >= len(pattern)
	}
	return pattern == host
}

// virtualHostByModel is Envoy's choice of a virtual host: the most specific, the longest.
func virtualHostByModel(patterns []string, host string) string {
	best := ""
	for _, p := range patterns {
		if matches(p, host) && (best == "" || slices.Compare([]int{kind(best), len(best)}, []int{kind(p), len(p)}) < 0) {
			best = p
		}
	}
	return best
}

var (
	segments = []string{"orders", "ordersX", "o", "v1.0", "v1.0.1", "a"}
	hosts    = []string{"*", "a.example", "b.example", "*.example", "a.*", "*.b.example"}
	asked    = []string{"a.example", "b.example", "c.example", "a.other", "x.b.example", "other"}
	// spelled are other ways to name a host: the port, the case, and a dot at the end change nothing.
	spelled = []func(string) string{strings.ToUpper, func(h string) string { return h + ":8080" }, func(h string) string { return h + "." },
		func(h string) string { return strings.ToUpper(h) + ".:1" }, func(h string) string { return h }}
)

func somePath(t *rapid.T, label string) string {
	parts := rapid.SliceOfN(rapid.SampledFrom(segments), 0, 3).Draw(t, label)
	return "/" + strings.Join(parts, "/")
}

func someBundles(t *rapid.T) (bundles []*xds.Bundle, patterns []string) {
	for i := range rapid.IntRange(1, 8).Draw(t, "bundles") {
		named := rapid.SliceOfN(rapid.SampledFrom(hosts), 0, 2).Draw(t, "hosts")
		b := answering(t, fmt.Sprintf("api%d", i), somePath(t, "context"), named...)
		bundles, patterns = append(bundles, b), append(patterns, b.Hosts...)
	}
	return bundles, patterns
}

func aPath(t *rapid.T) string {
	path := somePath(t, "path") + rapid.SampledFrom([]string{"", "", "/", "?q=/orders", "X"}).Draw(t, "end")
	return strings.ReplaceAll(path, "//", "/") // an absolute URI begins with two
}

func TestComposedRoutesAgreeWithTheModel(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		bundles, patterns := someBundles(t)
		config := &routev3.RouteConfiguration{}
		if err := proto.Unmarshal(compose(t, bundles...).Text(), config); err != nil {
			t.Fatal(err)
		}
		if err := config.ValidateAll(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			host, path := rapid.SampledFrom(asked).Draw(t, "host"), aPath(t)
			want := ownerByModel(bundles, patterns, host, path)
			if got := answers(t, config, patterns, host, path); got != want {
				t.Fatalf("%s%s: expected %q, got %q", host, path, want, got)
			}
		}
	})
}

// answers reads a configuration as Envoy does: the next test holds both to the same model.
func answers(t fails, config *routev3.RouteConfiguration, patterns []string, host, path string) string {
	t.Helper()
	name := virtualHostByModel(patterns, host)
	for _, virtual := range config.GetVirtualHosts() {
		if slices.Contains(virtual.GetDomains(), name) {
			return firstRoute(t, onPath(virtual.GetMatcher(), path))
		}
	}
	return ""
}

func onPath(matcher *xdsmatcherv3.Matcher, path string) *xdsmatcherv3.Matcher_OnMatch {
	matcher = matcher.GetOnNoMatch().GetMatcher() // of requests that have one Host header
	tree := matcher.GetMatcherTree().GetPrefixMatchMap().GetMap()
	for end := len(path); end > 0; end-- {
		on := tree[path[:end]]
		if on.GetMatcher() == nil && on != nil {
			return on
		}
		for _, field := range on.GetMatcher().GetMatcherList().GetMatchers() {
			for _, predicate := range field.GetPredicate().GetOrMatcher().GetPredicate() {
				value := predicate.GetSinglePredicate().GetValueMatch()
				if value.GetExact() == path || (value.GetPrefix() != "" && strings.HasPrefix(path, value.GetPrefix())) {
					return field.GetOnMatch()
				}
			}
		}
	}
	return nil
}

func firstRoute(t fails, on *xdsmatcherv3.Matcher_OnMatch) string {
	t.Helper()
	if on == nil {
		return ""
	}
	list := &routev3.RouteList{}
	if err := on.GetAction().GetTypedConfig().UnmarshalTo(list); err != nil {
		t.Fatalf("%v", err)
	}
	api, _, _ := strings.Cut(list.GetRoutes()[0].GetName(), "|")
	return api
}

func TestEnvoyAgreesWithTheModel(t *testing.T) {
	server, directory := startServer(t)
	envoy := envoytest.Start(t, directory)
	waitConnected(t, server)
	property.Check(t, func(r *rapid.T) {
		bundles, patterns := someBundles(r)
		// An acknowledgement comes before the worker has switched: a mark that differs each time shows when it has.
		mark := fmt.Sprint("mark", time.Now().UnixNano())
		marked := append([]*xds.Bundle{answering(r, mark, "/", "mark.test")}, bundles...)
		if err := server.SetRoutes(within(t, 20*time.Second), compose(r, marked...)); err != nil {
			r.Fatal(err)
		}
		envoy.Until("mark.test", "/"+mark, mark)
		for range 20 {
			host, path := rapid.SampledFrom(asked).Draw(r, "host"), aPath(r)
			want := ownerByModel(bundles, patterns, host, path)
			host = rapid.SampledFrom(spelled).Draw(r, "spelling")(host)
			if status, got := envoy.Get(host, path); got != want && (want != "" || status != 404) {
				r.Fatalf("%s%s: expected %q, got %d %q", host, path, want, status, got)
			}
		}
	})
}

// TestTwoHostsAreRefusedOnEveryHost: also on hosts of no API, and for any path.
func TestTwoHostsAreRefusedOnEveryHost(t *testing.T) {
	server, directory := startServer(t)
	envoy := envoytest.Start(t, directory)
	waitConnected(t, server)
	for name, bundles := range map[string][]*xds.Bundle{
		"named":    {answering(t, "a", "/a", "a.example", "*.b.example")},
		"everyone": {answering(t, "a", "/a", "a.example"), answering(t, "b", "/a")},
		"none":     {},
	} {
		if err := server.SetRoutes(within(t, 20*time.Second), compose(t, bundles...)); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"a.example,b.example", "a.example,x.b.example", "x,a.example:80", ","} {
			for _, path := range []string{"/a", "/nowhere"} {
				if status, body := envoy.Get(host, path); status != 400 || !strings.Contains(body, "two Host headers") {
					t.Errorf("%s: %s%s: expected 400, got %d %q", name, host, path, status, body)
				}
			}
		}
	}
	if status, _ := envoy.Get("a.example", "/nowhere"); status != 404 {
		t.Errorf("expected what no API claims to be 404 still, got %d", status)
	}
}

// TestChallengesAreTheControllersOnEveryHost: the controller does not run in this test, so Envoy answers 503 in its place.
func TestChallengesAreTheControllersOnEveryHost(t *testing.T) {
	server, directory := startServer(t)
	envoy := envoytest.Start(t, directory)
	waitConnected(t, server)
	bundles := []*xds.Bundle{answering(t, "named", "/", "a.example"), answering(t, "all", "/.well-known/acme-challenge/mine")}
	for _, test := range []struct {
		challenges bool
		host, path string
		status     int
	}{
		{true, "a.example", "/.well-known/acme-challenge/token", 503},
		{true, "b.example", "/.well-known/acme-challenge/token", 503},
		{true, "b.example", "/.well-known/acme-challenge/mine", 503},
		{true, "a.example", "/.well-known/acme-challenges", 200},
		{true, "b.example", "/.well-known/acme-challenge", 404},
		{true, "a.example,b.example", "/.well-known/acme-challenge/token", 400},
		{false, "a.example", "/.well-known/acme-challenge/token", 200},
		{false, "b.example", "/.well-known/acme-challenge/token", 404},
		{false, "b.example", "/.well-known/acme-challenge/mine", 200},
	} {
		config := xds.Compose(bundles, xds.NewFront(test.challenges, nil))
		if err := server.SetRoutes(within(t, 20*time.Second), config); err != nil {
			t.Fatal(err)
		}
		if status, _ := envoy.Get(test.host, test.path); status != test.status {
			t.Errorf("%+v: got %d", test, status)
		}
	}
}

func TestAFinalDotOfAHostIsIgnored(t *testing.T) {
	config := &routev3.RouteConfiguration{}
	composed := compose(t, answering(t, "a", "/a", "a.example"), answering(t, "b", "/b", "A.example."))
	if err := proto.Unmarshal(composed.Text(), config); err != nil {
		t.Fatal(err)
	}
	// Envoy refuses a route configuration with a domain that occurs twice.
	if got := config.GetVirtualHosts()[0].GetDomains(); !slices.Equal(got, []string{"a.example", "a.example."}) || len(config.GetVirtualHosts()) != 2 {
		t.Errorf("expected one virtual host beside that of every host, got %q of %d", got, len(config.GetVirtualHosts()))
	}
}

func TestHostsOfTheSameBundlesShareAVirtualHost(t *testing.T) {
	config := &routev3.RouteConfiguration{}
	all := []*xds.Bundle{answering(t, "shop", "/", "a.example", "b.example"), answering(t, "blog", "/blog", "b.example", "c.example", "*.c.example"), answering(t, "every", "/every")}
	if err := proto.Unmarshal(compose(t, all...).Text(), config); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, virtual := range config.GetVirtualHosts() {
		tree := virtual.GetMatcher().GetOnNoMatch().GetMatcher() // of requests that have one Host header
		contexts := slices.Sorted(maps.Keys(tree.GetMatcherTree().GetPrefixMatchMap().GetMap()))
		got = append(got, fmt.Sprint(virtual.GetDomains(), contexts))
	}
	want := []string{
		"[*] [/every]", "[*.c.example *.c.example. c.example c.example.] [/blog /every]",
		"[a.example a.example.] [/ /every]", "[b.example b.example.] [/ /blog /every]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("expected %q, got %q", want, got)
	}
}

func TestComposingIsStable(t *testing.T) {
	a, b := answering(t, "a", "/x"), answering(t, "b", "/x")
	if compose(t, a, b).Version != compose(t, b, a).Version {
		t.Error("expected the order of bundles not to matter")
	}
	if compose(t, a).Version == compose(t, a, b).Version {
		t.Error("expected another version with another API")
	}
}

func TestGoldenRouteConfiguration(t *testing.T) {
	config := &routev3.RouteConfiguration{}
	text := compose(t, answering(t, "root", "/"), answering(t, "orders", "/orders", "shop.example"), answering(t, "nested", "/orders/v1.0"))
	if err := proto.Unmarshal(text.Text(), config); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(protojson.MarshalOptions{Multiline: true}.Format(config), ":  ", ": ") + "\n" // protojson varies its spaces
	const path = "testdata/routes.golden.json"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("run with -update if this is meant:\n%s", got)
	}
}

func TestABundleIsCheckedBeforeEnvoySeesIt(t *testing.T) {
	good := func() *nodev1.ApiBundle { return answeringMessage(t, "a", "/a") }
	for name, c := range map[string]struct {
		spoil  func(*nodev1.ApiBundle)
		reason string
	}{
		"context": {func(b *nodev1.ApiBundle) { b.Context = "/a/" }, `context: expected "/" or "/a/b" without slash at its end, got "/a/"`},
		"host":    {func(b *nodev1.ApiBundle) { b.Hosts = []string{"ok", "a*b"} }, `hosts[1]: expected`},
		"port":    {func(b *nodev1.ApiBundle) { b.Hosts = []string{"a:80"} }, `got "a:80"`},
		"garbage": {func(b *nodev1.ApiBundle) { b.Routes = append(b.Routes, []byte{0xff}) }, `routes[1] "": decode:`},
		"no match": {func(b *nodev1.ApiBundle) { b.Routes[0] = route(t, `{"name":"a|x|"}`) },
			`routes[0] "a|x|": invalid Route.Match: value is required`},
		"regex": {func(b *nodev1.ApiBundle) {
			b.Routes[0] = route(t, `{"name":"a|x|","match":{"safeRegex":{"regex":"(?=a)"}},"directResponse":{"status":200}}`)
		}, "regex: expected RE2 syntax"},
		"chain": {func(b *nodev1.ApiBundle) {
			b.Routes[0] = route(t, `{"name":"a|x|`+strings.Repeat("0", 32)+`","match":{"prefix":"/"},"directResponse":{"status":200}}`)
		}, "expected the id of one of the bundle's chains"},
		"eds": {func(b *nodev1.ApiBundle) { b.Clusters = [][]byte{cluster(t, `{"name":"c","type":"EDS"}`)} }, `clusters[0] "c": type: expected STATIC`},
		"twice": {func(b *nodev1.ApiBundle) {
			b.Clusters = [][]byte{cluster(t, `{"name":"c"}`), cluster(t, `{"name":"c"}`)}
		}, `clusters[1] "c": name: stands twice`},
		"in any": {func(b *nodev1.ApiBundle) {
			b.Clusters = [][]byte{cluster(t, `{"name":"c","typedExtensionProtocolOptions":{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
				{"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}}}`)}
		}, "HttpProtocolOptions: invalid HttpProtocolOptions.UpstreamProtocolOptions"},
	} {
		message := good()
		c.spoil(message)
		if _, err := xds.ParseBundle(message, xds.ExtProc); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: expected an error with %q, got %v", name, c.reason, err)
		}
	}
	twice := good()
	twice.Context, twice.Hosts = "x", []string{"a:1"}
	if _, err := xds.ParseBundle(twice, xds.ExtProc); err == nil || !strings.Contains(err.Error(), "context") || !strings.Contains(err.Error(), "hosts[0]") {
		t.Errorf("expected both mistakes, got %v", err)
	}
}
