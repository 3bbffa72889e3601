package xds

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

func TestTheVersionOfEnvoyIsThatOfItsBuild(t *testing.T) {
	version := &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: 35, Patch: 3}
	node := &corev3.Node{UserAgentName: "envoy", UserAgentVersionType: &corev3.Node_UserAgentBuildVersion{
		UserAgentBuildVersion: &corev3.BuildVersion{Version: version}}}
	if got := envoyVersion(node); got != "1.35.3" {
		t.Errorf("expected 1.35.3, got %s", got)
	}
}
