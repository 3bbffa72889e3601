// Package entries reads what the readers of Envoy's access logs have in common.
package entries

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// RouteName returns the name of the exchange's route. Where operations share a route it is the one that the engine has told
// Envoy, or API||TABLE_ID of an exchange that has not come as far as the engine.
func RouteName(common *accesslogv3.AccessLogCommon) string {
	fields := common.GetMetadata().GetFilterMetadata()[envoynames.RouteNamespace].GetFields()
	if name := fields[envoynames.RouteNameKey].GetStringValue(); name != "" {
		return name
	}
	return common.GetRouteName()
}
