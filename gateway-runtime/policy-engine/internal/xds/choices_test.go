package xds_test

import (
	"fmt"
	"strings"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

const setState = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config"

// enabled returns an entry of the filter that repeats the route look-up, with further configuration or none.
func enabled(more string) string {
	return fmt.Sprintf(`,"gatewright.choice":{"@type":%q%s}`, setState, more)
}

// choiceMetadata returns the metadata of a route between whose pools policies choose.
func choiceMetadata(group, upstream string) string {
	return fmt.Sprintf(`,"metadata":{"filterMetadata":{"gatewright.choice":{"route":%q,"upstream":%q}}}`, group, upstream)
}

// choosing is a route of the operation with a chain of header policies.
func choosing(t fails, operation, match, filter, metadata string) []byte {
	t.Helper()
	return route(t, fmt.Sprintf(`{"name":"a|%s|%s","match":%s,"route":{"cluster":"c"},"typedPerFilterConfig":{%q:%s%s}%s}`,
		operation, aChain, match, extProc, sends("SEND NONE SKIP SKIP NONE SKIP", ""), filter, metadata))
}

const (
	anything = `{"prefix":"/"}`
	oneItem  = `{"path":"/a/1"}`
)

// choices is a bundle whose one operation goes to main, and whose policies choose between main and canary.
func choices(t fails) *nodev1.ApiBundle {
	t.Helper()
	message := bound(t, aChain, wants("R"), "")
	message.Chains[0].Upstreams = []string{"canary", "main"}
	message.Routes = [][]byte{choosing(t, "GET /", oneItem, enabled(""), choiceMetadata("k", "main"))}
	message.ChosenRoutes = [][]byte{
		choosing(t, "GET /", anything, enabled(""), choiceMetadata("k", "canary")),
		choosing(t, "GET /", anything, enabled(""), choiceMetadata("k", "main")),
	}
	return message
}

func TestChoicesAreComposedBeforeTheTree(t *testing.T) {
	config := compose(t, bundle(t, choices(t)), answering(t, "other", "/other"))
	text := string(config.Text())
	for _, key := range []string{"k/canary", "k/main", "gatewright.choice", "The gateway has no such upstream."} {
		if !strings.Contains(text, key) {
			t.Errorf("expected %q in the route configuration, got none", key)
		}
	}
	if text := string(compose(t, answering(t, "other", "/other")).Text()); strings.Contains(text, "gatewright.choice") {
		t.Error("expected no choices without a policy that chooses")
	}
}

func TestChoicesThatDoNotFitTheirChainsAreRefused(t *testing.T) {
	for want, change := range map[string]func(*nodev1.ApiBundle){
		"expected gatewright.choice, since the chain's policies choose between pools": func(m *nodev1.ApiBundle) {
			m.Routes[0] = choosing(t, "GET /", oneItem, "", choiceMetadata("k", "main"))
		},
		"expected an empty config": func(m *nodev1.ApiBundle) {
			m.Routes[0] = choosing(t, "GET /", oneItem, enabled(`,"clearRouteCache":true`), choiceMetadata("k", "main"))
		},
		`expected a route and one of the upstreams ["canary" "main"], got "" and "main"`: func(m *nodev1.ApiBundle) {
			m.Routes[0] = choosing(t, "GET /", oneItem, enabled(""), choiceMetadata("", "main"))
		},
		`got "k" and "nope"`: func(m *nodev1.ApiBundle) {
			m.Routes[0] = choosing(t, "GET /", oneItem, enabled(""), choiceMetadata("k", "nope"))
		},
		"expected no gatewright.choice, since no policy chooses a pool here": func(m *nodev1.ApiBundle) {
			m.Chains[0].Upstreams = []string{"main"}
		},
		"expected a route of the same name in chosen_routes for k/canary": func(m *nodev1.ApiBundle) {
			m.ChosenRoutes = m.ChosenRoutes[1:]
		},
		`for k/canary, got "a|GET /secret|` + aChain: func(m *nodev1.ApiBundle) {
			m.ChosenRoutes[0] = choosing(t, "GET /secret", anything, enabled(""), choiceMetadata("k", "canary"))
		},
		`chosen_routes[0].match: expected prefix "/"`: func(m *nodev1.ApiBundle) {
			m.ChosenRoutes[0] = choosing(t, "GET /", oneItem, enabled(""), choiceMetadata("k", "canary"))
		},
		"expected each once, got k/main twice": func(m *nodev1.ApiBundle) {
			m.ChosenRoutes = append(m.ChosenRoutes, m.ChosenRoutes[1])
		},
		"expected those alone that routes name, got also j/main": func(m *nodev1.ApiBundle) {
			m.ChosenRoutes = append(m.ChosenRoutes, choosing(t, "GET /", anything, enabled(""), choiceMetadata("j", "main")))
		},
		"chosen_routes[0]: expected metadata gatewright.choice, got none": func(m *nodev1.ApiBundle) {
			m.Chains, m.Routes = nil, nil
			m.ChosenRoutes = [][]byte{route(t, `{"name":"a|GET /|","match":{"prefix":"/"},"route":{"cluster":"c"}}`)}
		},
		"without it no policy would run": func(m *nodev1.ApiBundle) {
			m.ChosenRoutes[0] = route(t, fmt.Sprintf(`{"name":"a|GET /|%s","match":{"prefix":"/"},"route":{"cluster":"c"},
				"typedPerFilterConfig":{"gatewright.choice":{"@type":%q}}%s}`, aChain, setState, choiceMetadata("k", "canary")))
		},
	} {
		message := choices(t)
		change(message)
		if _, err := xds.ParseBundle(message, xds.ExtProc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
}
