package xds_test

import (
	"fmt"
	"strings"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

const priorityGroups = "type.googleapis.com/envoy.extensions.router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier"

// tried is the route of an operation for requests with several attempts.
func tried(t fails, choice, groups, retry string) []byte {
	t.Helper()
	action := fmt.Sprintf(`"inlineClusterSpecifierPlugin":{"extension":{"name":"p","typedConfig":{"@type":%q,"priorityGroups":[{"name":"main","clusters":[{"clusterName":"c","weight":1}]}]%s}}},"retryPolicy":{%s}`, priorityGroups, groups, retry)
	return route(t, fmt.Sprintf(`{"name":"a|GET /|%s","match":%s,"route":{%s},"typedPerFilterConfig":{%q:%s%s}%s}`,
		aChain, anything, action, extProc, sends("SEND NONE SKIP SEND NONE SKIP", ""), enabled(""), choiceMetadata("k", choice)))
}

// failover is choices with attempts; the routes' answers go to the engine.
func failover(t fails, attempts []byte) *nodev1.ApiBundle {
	t.Helper()
	message := choices(t)
	message.Chains[0].Failover = true
	for n, upstream := range []string{"canary", "main"} {
		message.ChosenRoutes[n] = answered(t, anything, upstream)
	}
	message.Routes[0] = answered(t, oneItem, "main")
	if attempts != nil {
		message.ChosenRoutes = append(message.ChosenRoutes, attempts)
	}
	return message
}

func answered(t fails, match, upstream string) []byte {
	t.Helper()
	return route(t, fmt.Sprintf(`{"name":"a|GET /|%s","match":%s,"route":{"cluster":"c"},"typedPerFilterConfig":{%q:%s%s}%s}`,
		aChain, match, extProc, sends("SEND NONE SKIP SEND NONE SKIP", ""), enabled(""), choiceMetadata("k", upstream)))
}

const inOrder, refreshed = `,"overrideMetadataNamespace":"gatewright.order"`, `"refreshClusterOnRetry":true`

func TestARouteOfAttemptsIsOneOfTheChoices(t *testing.T) {
	config := compose(t, bundle(t, failover(t, tried(t, "*", inOrder, refreshed))))
	if text := string(config.Text()); !strings.Contains(text, "k/*") {
		t.Errorf("expected the choice k/*, got %s", text)
	}
}

func TestRoutesOfAttemptsThatAreRefused(t *testing.T) {
	for expected, attempts := range map[string][]byte{
		"chosen_routes for k/*":             nil,
		"expected the order in metadata":    tried(t, "*", `,"overrideMetadataNamespace":"other"`, refreshed),
		"and no header":                     tried(t, "*", inOrder+`,"headerName":"x-order"`, refreshed),
		`expected the choice "*"`:           tried(t, "main", inOrder, refreshed),
		"expected refresh_cluster_on_retry": tried(t, "*", inOrder, ""),
	} {
		if _, err := xds.ParseBundle(failover(t, attempts), xds.ExtProc); err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("expected %q, got %v", expected, err)
		}
	}
}
