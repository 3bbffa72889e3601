package xds

import (
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	priority_groupv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/priority_group/v3"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// checkAttempts checks the clusters of a route for requests with several attempts: only the engine says their order.
func checkAttempts(route *routev3.Route, plugin *routev3.ClusterSpecifierPlugin) error {
	groups := &priority_groupv3.PriorityGroupClusterSpecifier{}
	if err := plugin.GetExtension().GetTypedConfig().UnmarshalTo(groups); err != nil {
		return fmt.Errorf("route.inline_cluster_specifier_plugin: %w", err)
	}
	if got := groups.GetOverrideMetadataNamespace(); got != envoynames.OrderNamespace || groups.GetHeaderName() != "" {
		return fmt.Errorf("route.inline_cluster_specifier_plugin: expected the order in metadata %s and no header, got %q and %q",
			envoynames.OrderNamespace, got, groups.GetHeaderName())
	}
	if got := targetOf(route).upstream; got != envoynames.FailoverChoice {
		return fmt.Errorf("route.inline_cluster_specifier_plugin: expected the choice %q, got %q", envoynames.FailoverChoice, got)
	}
	if !route.GetRoute().GetRetryPolicy().GetRefreshClusterOnRetry() {
		return fmt.Errorf("route.retry_policy: expected refresh_cluster_on_retry, or each attempt goes to the same upstream")
	}
	return nil
}
