package xds_test

import (
	"fmt"
	"strings"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

// upgrading is a bundle of one route with this match, these upgrades and a chain of these attachments.
func upgrading(t fails, match, upgrades string, attachments []*nodev1.Attachment, modes string) *nodev1.ApiBundle {
	t.Helper()
	message := bound(t, aChain, attachments, "")
	message.Routes[0] = route(t, fmt.Sprintf(
		`{"name":"a|GET /|%s","match":%s,"route":{"cluster":"c","upgradeConfigs":[%s]},"typedPerFilterConfig":{%q:%s}}`,
		aChain, match, upgrades, extProc, sends(modes, "")))
	return message
}

func TestAnUpgradePassesNoPolicyBy(t *testing.T) {
	const anyPath, websocket = `{"prefix":"/"}`, `{"upgradeType":"websocket"}`
	const headers = "SEND NONE SKIP SKIP NONE SKIP"
	bundle(t, upgrading(t, anyPath, websocket, wants("R"), headers))
	bundle(t, upgrading(t, anyPath, `{"upgradeType":"WebSocket"}`, wants("R", "r"), "SEND NONE SKIP SEND NONE SKIP"))
	for name, c := range map[string]struct {
		message *nodev1.ApiBundle
		reason  string
	}{
		"request body": {upgrading(t, anyPath, websocket, wants("R", "B"), "SEND FULL_DUPLEX_STREAMED SEND SKIP NONE SKIP"),
			"route.upgrade_configs[0]: expected none, since policies of the chain want a body"},
		"streamed response body": {upgrading(t, anyPath, websocket, wants("b"), "SEND NONE SKIP SEND FULL_DUPLEX_STREAMED SEND"),
			"route.upgrade_configs[0]: expected none"},
		"switched off": {upgrading(t, anyPath, `{"upgradeType":"websocket","enabled":false}`, wants("B"), "SEND FULL_DUPLEX_STREAMED SEND SKIP NONE SKIP"),
			"route.upgrade_configs[0]: expected none"},
		"any protocol": {upgrading(t, anyPath, websocket+`,{"upgradeType":"foo"}`, wants("R"), headers), "route.upgrade_configs[1]: expected websocket"},
		"tunnel":       {upgrading(t, anyPath, `{"upgradeType":"CONNECT","connectConfig":{}}`, wants("R"), headers), "route.upgrade_configs[0]: expected websocket"},
		"CONNECT":      {upgrading(t, `{"connectMatcher":{}}`, "", wants("R"), headers), "match.connect_matcher: expected none"},
	} {
		if _, err := xds.ParseBundle(c.message, xds.ExtProc); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: expected an error with %q, got %v", name, c.reason, err)
		}
	}
}
