package xds

import (
	"errors"
	"fmt"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// checkUpgrades checks a route's upgrades against its chain (nil: none). An upgraded connection
// has no bodies: policies that want one would be bypassed.
func checkUpgrades(route *routev3.Route, chain *nodev1.Chain) error {
	var errs []error
	for i, upgrade := range route.GetRoute().GetUpgradeConfigs() {
		switch {
		case !strings.EqualFold(upgrade.GetUpgradeType(), "websocket") || upgrade.GetConnectConfig() != nil:
			errs = append(errs, fmt.Errorf("route.upgrade_configs[%d]: expected websocket, got %v", i, upgrade))
		case wantsBody(chain):
			errs = append(errs, fmt.Errorf("route.upgrade_configs[%d]: expected none, since policies of the chain want a body", i))
		}
	}
	if route.GetMatch().GetConnectMatcher() != nil {
		errs = append(errs, errors.New("match.connect_matcher: expected none: a tunnel passes every policy by"))
	}
	return errors.Join(errs...)
}

func wantsBody(chain *nodev1.Chain) bool {
	for _, attachment := range chain.GetAttachments() {
		mode := attachment.GetProcessingMode()
		if mode.GetRequestBody() > nodev1.BodyMode_BODY_MODE_SKIP || mode.GetResponseBody() > nodev1.BodyMode_BODY_MODE_SKIP {
			return true
		}
	}
	return false
}
