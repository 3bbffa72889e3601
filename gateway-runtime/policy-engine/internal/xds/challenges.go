package xds

import (
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// challengePrefix is the path by which an authority checks that a host is ours (RFC 8555, 8.3).
	challengePrefix = "/.well-known/acme-challenge/"
	// challengesCluster is a cluster of the bootstrap: the controller, which answers challenges.
	challengesCluster = "gatewright_challenges"
	challengesTimeout = 10 * time.Second
)

var toChallenges = mustRoutes(challengesRoute())

// challengesRoute belongs to no API and has no chain. Listeners that redirect have the same: the controller's listeners.py.
func challengesRoute() *routev3.Route {
	return &routev3.Route{
		Name:  "|challenges|",
		Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: challengePrefix}},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: challengesCluster},
			Timeout:          durationpb.New(challengesTimeout),
		}},
	}
}
