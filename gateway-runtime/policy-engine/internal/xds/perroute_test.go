package xds_test

import (
	"fmt"
	"strings"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

const (
	aChain  = "0123456789abcdef0123456789abcdef"
	extProc = "envoy.filters.http.ext_proc"
	typeURL = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
)

// wants makes attachments of R(equest headers), B(ody), r(esponse headers), b(ody); "" wants nothing.
func wants(modes ...string) []*nodev1.Attachment {
	attachments := make([]*nodev1.Attachment, 0, len(modes))
	for _, mode := range modes {
		want := &nodev1.ProcessingMode{RequestHeaders: nodev1.HeaderMode_HEADER_MODE_SKIP, RequestBody: nodev1.BodyMode_BODY_MODE_SKIP}
		for _, field := range mode {
			switch field {
			case 'R':
				want.RequestHeaders = nodev1.HeaderMode_HEADER_MODE_PROCESS
			case 'B':
				want.RequestBody = nodev1.BodyMode_BODY_MODE_BUFFER
			case 'r':
				want.ResponseHeaders = nodev1.HeaderMode_HEADER_MODE_PROCESS
			case 'b':
				want.ResponseBody = nodev1.BodyMode_BODY_MODE_STREAM
			}
		}
		attachments = append(attachments, &nodev1.Attachment{ProcessingMode: want})
	}
	return attachments
}

// bound is a bundle of one route with a chain of these attachments and this ext_proc configuration; "" is none.
func bound(t fails, chain string, attachments []*nodev1.Attachment, perRoute string) *nodev1.ApiBundle {
	t.Helper()
	message := answeringMessage(t, "a", "/a")
	if chain != "" {
		message.Chains = []*nodev1.Chain{{Id: chain, Attachments: attachments}}
	}
	config := ""
	if perRoute != "" {
		config = fmt.Sprintf(`,"typedPerFilterConfig":{%q:%s}`, extProc, perRoute)
	}
	message.Routes = [][]byte{route(t, fmt.Sprintf(
		`{"name":"a|GET /|%s","match":{"prefix":"/"},"route":{"cluster":"c"}%s}`, chain, config))}
	return message
}

func perRoute(inner string) string { return fmt.Sprintf(`{"@type":%q,%s}`, typeURL, inner) }

// sends are overrides with the modes of request headers, body and trailers, then the response's.
func sends(modes, more string) string {
	m := strings.Fields(modes)
	return perRoute(fmt.Sprintf(`"overrides":{"processingMode":{"requestHeaderMode":%q,"requestBodyMode":%q,"requestTrailerMode":%q,
		"responseHeaderMode":%q,"responseBodyMode":%q,"responseTrailerMode":%q}%s}`, m[0], m[1], m[2], m[3], m[4], m[5], more))
}

func TestARouteWithTheModesOfItsPoliciesIsAccepted(t *testing.T) {
	for modes, attachments := range map[string][]*nodev1.Attachment{
		"SEND NONE SKIP SKIP NONE SKIP":                                 wants("R"),
		"DEFAULT NONE DEFAULT SKIP NONE DEFAULT":                        wants("R", ""),
		"SEND NONE SKIP SEND NONE SKIP":                                 wants("R", "r"),
		"SEND NONE DEFAULT DEFAULT NONE SKIP":                           wants("r"),
		"SEND FULL_DUPLEX_STREAMED SEND SKIP NONE SKIP":                 wants("R", "B"),
		"SEND NONE SKIP SEND FULL_DUPLEX_STREAMED SEND":                 wants("b"),
		"SEND FULL_DUPLEX_STREAMED SEND SEND FULL_DUPLEX_STREAMED SEND": wants("RB", "rb", ""),
	} {
		bundle(t, bound(t, aChain, attachments, sends(modes, "")))
	}
	goesOn := wants("R", "R")
	goesOn[0].OnErrorByClass = map[string]nodev1.OnError{"crashed": nodev1.OnError_ON_ERROR_CONTINUE}
	goesOn[1].OnError = nodev1.OnError_ON_ERROR_CONTINUE
	bundle(t, bound(t, aChain, goesOn, sends("SEND NONE SKIP SKIP NONE SKIP", `,"failureModeAllow":true`)))
	shadow := wants("R", "R")
	shadow[0].OnError, shadow[1].Shadow = nodev1.OnError_ON_ERROR_CONTINUE, true
	bundle(t, bound(t, aChain, shadow, sends("SEND NONE SKIP SKIP NONE SKIP", `,"failureModeAllow":true`)))
}

func TestARouteThatBypassesItsPoliciesIsRefused(t *testing.T) {
	const headers, full = "SEND NONE SKIP SKIP NONE SKIP", "SEND FULL_DUPLEX_STREAMED SEND SEND FULL_DUPLEX_STREAMED SEND"
	fails := wants("R", "R")
	fails[0].OnError = nodev1.OnError_ON_ERROR_CONTINUE
	fails[0].OnErrorByClass = map[string]nodev1.OnError{"crashed": nodev1.OnError_ON_ERROR_FAIL}
	fails[1].OnError = nodev1.OnError_ON_ERROR_CONTINUE
	for name, c := range map[string]struct {
		bundle *nodev1.ApiBundle
		reason string
	}{
		"not enabled":      {bound(t, aChain, wants("R"), ""), "expected " + extProc + ", since the route has a chain: without it no policy would run"},
		"disabled":         {bound(t, aChain, wants("R"), perRoute(`"disabled":true`)), "expected overrides.processing_mode with the modes that the chain's policies want, got none"},
		"the filter's own": {bound(t, aChain, wants("R", "r"), perRoute(`"overrides":{}`)), "expected overrides.processing_mode"},
		"wrapped": {bound(t, aChain, wants("R"), `{"@type":"type.googleapis.com/envoy.config.route.v3.FilterConfig","disabled":true}`),
			"typed_per_filter_config[" + extProc + "]: "},
		"no chain": {bound(t, "", nil, sends(headers, "")), "expected no " + extProc + ", since the route's name ends in no chain"},
		"request headers": {bound(t, aChain, wants("R"), sends("SKIP NONE SKIP SKIP NONE SKIP", "")),
			"processing_mode.request_header_mode: expected SEND for the policies of the chain, got SKIP"},
		"request body": {bound(t, aChain, wants("B"), sends(headers, "")),
			"processing_mode.request_body_mode: expected FULL_DUPLEX_STREAMED for the policies of the chain, got NONE"},
		"buffered": {bound(t, aChain, wants("B"), sends("SEND BUFFERED SEND SKIP NONE SKIP", "")), "request_body_mode: expected FULL_DUPLEX_STREAMED"},
		"request trailers": {bound(t, aChain, wants("B"), sends("SEND FULL_DUPLEX_STREAMED SKIP SKIP NONE SKIP", "")),
			"request_trailer_mode: expected SEND"},
		"response headers": {bound(t, aChain, wants("R", "r"), sends(headers, "")), "response_header_mode: expected SEND"},
		"response body": {bound(t, aChain, wants("b"), sends("SEND NONE SKIP SEND NONE SKIP", "")),
			"response_body_mode: expected FULL_DUPLEX_STREAMED"},
		"response trailers": {bound(t, aChain, wants("b"), sends("SEND NONE SKIP SEND FULL_DUPLEX_STREAMED DEFAULT", "")),
			"response_trailer_mode: expected SEND"},
		"too much":      {bound(t, aChain, wants("R"), sends(full, "")), "response_body_mode: expected NONE"},
		"fails open":    {bound(t, aChain, fails, sends(headers, `,"failureModeAllow":true`)), "failure_mode_allow: expected true only if"},
		"another place": {bound(t, aChain, wants("R"), sends(headers, `,"grpcService":{"envoyGrpc":{"clusterName":"x"}}`)), "got also"},
	} {
		if _, err := xds.ParseBundle(c.bundle, xds.ExtProc); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: expected an error with %q, got %v", name, c.reason, err)
		}
	}
}

// TestAWeightedClusterOverrulesNothing: its configuration would take precedence over the route's.
func TestAWeightedClusterOverrulesNothing(t *testing.T) {
	message := bound(t, aChain, wants("R"), sends("SEND NONE SKIP SKIP NONE SKIP", ""))
	message.Routes[0] = route(t, fmt.Sprintf(`{"name":"a|GET /|%s","match":{"prefix":"/"},"route":{"weightedClusters":{"clusters":[
		{"name":"c","weight":1},{"name":"d","weight":1,"typedPerFilterConfig":{%q:%s}}]}}}`, aChain, extProc, perRoute(`"disabled":true`)))
	if _, err := xds.ParseBundle(message, xds.ExtProc); err == nil || !strings.Contains(err.Error(), "clusters[1].typed_per_filter_config: expected no") {
		t.Errorf("expected the second cluster to be named, got %v", err)
	}
}
