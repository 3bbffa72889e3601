package node

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Policy is a policy that this node can run.
type Policy struct {
	Name, Version    string
	DefinitionDigest string
	Mode             v1alpha.ProcessingModeConfig // from its definition
	PrepareTimeout   time.Duration                // from its definition; 0 is the default
	Factory          v1alpha.Factory
	Moves            int // how often it has moved to another executor group: instances built before the last move are built again
}

// ID returns name:version.
func (p Policy) ID() string { return p.Name + ":" + p.Version }

// policies are the policies of a node by ID.
type policies map[string]Policy

func policiesOf(list []Policy) *policies {
	byID := policies{}
	for _, policy := range list {
		byID[policy.ID()] = policy
	}
	return &byID
}

// find returns the policy of an attachment, if the attachment fits the definition that this node was built with.
func (p policies) find(attachment *nodev1.Attachment) (Policy, error) {
	id := attachment.GetPolicyName() + ":" + attachment.GetPolicyVersion()
	policy, ok := p[id]
	if !ok {
		return Policy{}, fmt.Errorf("policy %s: this node has %s; build it in, or attach one of these",
			id, strings.Join(slices.Sorted(maps.Keys(p)), ", "))
	}
	if got := strings.TrimPrefix(attachment.GetDefinitionDigest(), shadowDigest); got != policy.DefinitionDigest {
		return Policy{}, fmt.Errorf("policy %s: definition: expected digest %s, got %s; controller and node were built from different definitions",
			id, policy.DefinitionDigest, got)
	}
	got, want := modeOf(attachment.GetProcessingMode()), explicit(policy.Mode)
	want.EncodedBodies = cmp.Or(want.EncodedBodies, got.EncodedBodies) // a controller of another release may have another default
	if got != want {
		return Policy{}, fmt.Errorf("policy %s: processing mode: expected %+v as in its definition, got %+v", id, want, got)
	}
	return policy, nil
}

// shadowDigest is the prefix of the digest of a shadow attachment's definition (node.proto).
const shadowDigest = "shadow:"

// checkMode compares a chain's processing mode with its attachments': the front end must deliver what each of them wants.
func checkMode(message *nodev1.Chain) error {
	mode := modeOf(message.GetProcessingMode())
	var errs []error
	for _, attachment := range message.GetAttachments() {
		wants := modeOf(attachment.GetProcessingMode())
		if !covers(mode, wants) {
			errs = append(errs, fmt.Errorf("processing mode: policy %s wants %+v, the chain delivers %+v",
				attachment.GetPolicyName(), wants, mode))
		}
	}
	return errors.Join(errs...)
}

func covers(mode, wants v1alpha.ProcessingModeConfig) bool {
	return (mode.RequestHeaderMode == wants.RequestHeaderMode || wants.RequestHeaderMode == v1alpha.HeaderSkip) &&
		(mode.ResponseHeaderMode == wants.ResponseHeaderMode || wants.ResponseHeaderMode == v1alpha.HeaderSkip) &&
		(mode.WantsRequestBody() || !wants.WantsRequestBody()) && (mode.WantsResponseBody() || !wants.WantsResponseBody())
}

func modeOf(mode *nodev1.ProcessingMode) v1alpha.ProcessingModeConfig {
	return v1alpha.ProcessingModeConfig{
		RequestHeaderMode: headerMode(mode.GetRequestHeaders()), RequestBodyMode: bodyMode(mode.GetRequestBody()),
		ResponseHeaderMode: headerMode(mode.GetResponseHeaders()), ResponseBodyMode: bodyMode(mode.GetResponseBody()),
		RequestBodyInResponse: mode.GetRequestBodyInResponse(), EncodedBodies: encodedBodies(mode.GetEncodedBodies()),
	}
}

func encodedBodies(encoded nodev1.EncodedBodies) v1alpha.EncodedBodies {
	switch encoded {
	case nodev1.EncodedBodies_ENCODED_BODIES_PASS:
		return v1alpha.EncodedPass
	case nodev1.EncodedBodies_ENCODED_BODIES_DECODE:
		return v1alpha.EncodedDecode
	default:
		return v1alpha.EncodedRefuse
	}
}

func headerMode(mode nodev1.HeaderMode) v1alpha.HeaderMode {
	if mode == nodev1.HeaderMode_HEADER_MODE_PROCESS {
		return v1alpha.HeaderProcess
	}
	return v1alpha.HeaderSkip
}

func bodyMode(mode nodev1.BodyMode) v1alpha.BodyMode {
	switch mode {
	case nodev1.BodyMode_BODY_MODE_BUFFER:
		return v1alpha.BodyBuffer
	case nodev1.BodyMode_BODY_MODE_STREAM:
		return v1alpha.BodyStream
	default:
		return v1alpha.BodySkip
	}
}

// explicit fills in the modes that a definition leaves out, except EncodedBodies.
func explicit(mode v1alpha.ProcessingModeConfig) v1alpha.ProcessingModeConfig {
	for _, header := range []*v1alpha.HeaderMode{&mode.RequestHeaderMode, &mode.ResponseHeaderMode} {
		if *header == "" {
			*header = v1alpha.HeaderSkip
		}
	}
	for _, body := range []*v1alpha.BodyMode{&mode.RequestBodyMode, &mode.ResponseBodyMode} {
		if *body == "" {
			*body = v1alpha.BodySkip
		}
	}
	return mode
}

func settingsOf(attachment *nodev1.Attachment) (chain.Settings, error) {
	byClass := make(map[v1alpha.FailureClass]chain.Reaction, len(attachment.GetOnErrorByClass()))
	for class, reaction := range attachment.GetOnErrorByClass() {
		if !slices.Contains(v1alpha.FailureClasses, v1alpha.FailureClass(class)) {
			return chain.Settings{}, fmt.Errorf("policy %s: onError: expected one of %v, got %q",
				attachment.GetPolicyName(), v1alpha.FailureClasses, class)
		}
		byClass[v1alpha.FailureClass(class)] = reactionOf(reaction)
	}
	if marked := strings.HasPrefix(attachment.GetDefinitionDigest(), shadowDigest); marked != attachment.GetShadow() {
		return chain.Settings{}, fmt.Errorf("policy %s: shadow: expected %t as its definition's digest says, got %t",
			attachment.GetPolicyName(), marked, attachment.GetShadow())
	}
	concurrency := int(attachment.GetMaxConcurrency())
	if attachment.GetShadow() {
		concurrency = cmp.Or(concurrency, chain.DefaultShadowConcurrency)
	}
	return chain.Settings{
		Timeout:        time.Duration(attachment.GetTimeoutMs()) * time.Millisecond,
		OnError:        chain.OnError{Default: reactionOf(attachment.GetOnError()), ByClass: byClass},
		MaxConcurrency: concurrency,
		MaxBodyBytes:   int64(attachment.GetMaxBodyBytes()),
		Mode:           modeOf(attachment.GetProcessingMode()),

		StreamIdleTimeout: time.Duration(attachment.GetStreamIdleTimeoutMs()) * time.Millisecond,

		Shadow: attachment.GetShadow(),
	}, nil
}

func reactionOf(onError nodev1.OnError) chain.Reaction {
	if onError == nodev1.OnError_ON_ERROR_CONTINUE {
		return chain.Continue
	}
	return chain.Fail
}
