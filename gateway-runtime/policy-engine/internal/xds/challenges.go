package xds

import (
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewright.dev/policy-engine/gen/envoynames"
)

const challengesTimeout = 10 * time.Second

var toChallenges = alwaysRoutes(challengesRoute())

// challengesRoute belongs to no API and has no chain. Listeners that redirect have the same: the controller's listeners.py.
func challengesRoute() *routev3.Route {
	return &routev3.Route{
		Name:  envoynames.ChallengesRoute,
		Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: envoynames.ChallengePath}},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: envoynames.ChallengesCluster},
			Timeout:          durationpb.New(challengesTimeout),
		}},
	}
}
