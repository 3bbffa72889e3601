package xds

import (
	"errors"
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// checkExtProc checks that a route sends the engine exactly what the policies of its chain need (nil: no chain). With less,
// requests would bypass policies; with more, they would end in errors, since the engine refuses unexpected messages.
func checkExtProc(route *routev3.Route, chain *nodev1.Chain) error {
	for i, weighted := range route.GetRoute().GetWeightedClusters().GetClusters() {
		if weighted.GetTypedPerFilterConfig()[envoynames.ExtProcFilter] != nil {
			return fmt.Errorf("route.weighted_clusters.clusters[%d].typed_per_filter_config: expected no %s: it would overrule the route's", i, envoynames.ExtProcFilter)
		}
	}
	packed := route.GetTypedPerFilterConfig()[envoynames.ExtProcFilter]
	switch {
	case packed == nil && chain == nil:
		return nil
	case packed == nil:
		return fmt.Errorf("typed_per_filter_config: expected %s, since the route has a chain: without it no policy would run", envoynames.ExtProcFilter)
	case chain == nil:
		return fmt.Errorf("typed_per_filter_config: expected no %s, since the route's name ends in no chain: every request would be refused", envoynames.ExtProcFilter)
	}
	config := &filterv3.ExtProcPerRoute{}
	err := packed.UnmarshalTo(config)
	if err == nil {
		err = checkPerRoute(config, chain)
	}
	if err != nil {
		return fmt.Errorf("typed_per_filter_config[%s]: %w", envoynames.ExtProcFilter, err)
	}
	return nil
}

func checkPerRoute(config *filterv3.ExtProcPerRoute, chain *nodev1.Chain) error {
	overrides := config.GetOverrides()
	if overrides.GetProcessingMode() == nil {
		return errors.New("expected overrides.processing_mode with the modes that the chain's policies want, got none: requests would bypass them")
	}
	errs := []error{checkModes(overrides.GetProcessingMode(), modesOf(chain))}
	if overrides.GetFailureModeAllow().GetValue() && !goesOnWhenCrashed(chain) {
		errs = append(errs, errors.New("failure_mode_allow: expected true only if all policies of the chain that are applied continue when crashed"))
	}
	rest, _ := proto.Clone(overrides).(*filterv3.ExtProcOverrides)
	rest.ProcessingMode, rest.FailureModeAllow = nil, nil
	if proto.Size(rest) > 0 {
		errs = append(errs, fmt.Errorf("overrides: expected processing_mode and failure_mode_allow only, got also %v", rest))
	}
	return errors.Join(errs...)
}

// modesOf returns the modes in which the chain's policies receive exactly what they want. Request headers are always sent: they
// identify the chain. Bodies are sent in the one mode that no kind of request bypasses, with their trailers.
func modesOf(chain *nodev1.Chain) *filterv3.ProcessingMode {
	const send, skip, duplex = filterv3.ProcessingMode_SEND, filterv3.ProcessingMode_SKIP, filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	modes := &filterv3.ProcessingMode{RequestHeaderMode: send, ResponseHeaderMode: skip, RequestTrailerMode: skip, ResponseTrailerMode: skip}
	if chain.GetFailover() {
		modes.ResponseHeaderMode = send // they say which upstream has answered
	}
	for _, attachment := range chain.GetAttachments() {
		wants := attachment.GetProcessingMode()
		if wants.GetRequestBody() > nodev1.BodyMode_BODY_MODE_SKIP {
			modes.RequestBodyMode, modes.RequestTrailerMode = duplex, send
		}
		if wants.GetResponseHeaders() > nodev1.HeaderMode_HEADER_MODE_SKIP {
			modes.ResponseHeaderMode = send
		}
		if wants.GetResponseBody() > nodev1.BodyMode_BODY_MODE_SKIP {
			modes.ResponseHeaderMode, modes.ResponseBodyMode, modes.ResponseTrailerMode = send, duplex, send
		}
	}
	return modes
}

func checkModes(got, want *filterv3.ProcessingMode) error {
	const send, skip = filterv3.ProcessingMode_SEND, filterv3.ProcessingMode_SKIP
	return errors.Join(
		checkMode("request_header_mode", orDefault(got.GetRequestHeaderMode(), send), want.GetRequestHeaderMode()),
		checkMode("request_body_mode", got.GetRequestBodyMode(), want.GetRequestBodyMode()),
		checkMode("request_trailer_mode", orDefault(got.GetRequestTrailerMode(), skip), want.GetRequestTrailerMode()),
		checkMode("response_header_mode", orDefault(got.GetResponseHeaderMode(), send), want.GetResponseHeaderMode()),
		checkMode("response_body_mode", got.GetResponseBodyMode(), want.GetResponseBodyMode()),
		checkMode("response_trailer_mode", orDefault(got.GetResponseTrailerMode(), skip), want.GetResponseTrailerMode()),
	)
}

// orDefault resolves DEFAULT as Envoy does: headers are sent, trailers are not.
func orDefault(mode, meaning filterv3.ProcessingMode_HeaderSendMode) filterv3.ProcessingMode_HeaderSendMode {
	if mode == filterv3.ProcessingMode_DEFAULT {
		return meaning
	}
	return mode
}

func checkMode[Mode interface {
	comparable
	String() string
}](field string, got, want Mode) error {
	if got != want {
		return fmt.Errorf("processing_mode.%s: expected %s for the policies of the chain, got %s", field, want, got)
	}
	return nil
}

func goesOnWhenCrashed(chain *nodev1.Chain) bool {
	for _, attachment := range chain.GetAttachments() {
		reaction, named := attachment.GetOnErrorByClass()["crashed"]
		if !named {
			reaction = attachment.GetOnError()
		}
		if reaction != nodev1.OnError_ON_ERROR_CONTINUE && !attachment.GetShadow() {
			return false
		}
	}
	return true
}
