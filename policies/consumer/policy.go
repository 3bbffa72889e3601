// Package consumer is the policy consumer: it finds the controller's consumer that an earlier policy has identified.
package consumer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"

	"gatewright.dev/sdk/policy/v1alpha"
)

type parameters struct {
	Required bool              `json:"required"`
	Labels   map[string]string `json:"labels"`
	Header   string            `json:"header"`
}

type policy struct {
	parameters
	known v1alpha.Consumers
}

var refused = &v1alpha.ImmediateResponse{
	StatusCode: 403,
	Headers:    []v1alpha.Header{{Name: "content-type", Value: "application/problem+json"}, {Name: "cache-control", Value: "no-store"}},
	Body:       []byte(`{"type":"about:blank","title":"Forbidden","status":403,"detail":"The client is no consumer of this API."}`),
}

// GetPolicy builds an instance; its parameters are in policy-definition.yaml.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	p := &policy{known: metadata.Consumers}
	if err := params.Decode(&p.parameters); err != nil {
		return nil, err
	}
	if p.known == nil {
		return nil, fmt.Errorf("expected the consumers of the node, got none")
	}
	return p, nil
}

// OnRequest adds the consumer and its plan to the client's identity.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	identity, identified := v1alpha.IdentityOf(req.Metadata)
	consumer := p.find(req, identity, identified)
	if consumer == nil || !p.fits(consumer) {
		if p.Required {
			return refused, nil
		}
		return p.header(""), forget(req.Metadata)
	}
	if err := addTo(req.Metadata, consumer); err != nil {
		return nil, err
	}
	return p.header(consumer.Name), nil
}

// find returns the client's consumer by the certificate or the token that an earlier policy has verified; nil: none.
func (p *policy) find(req *v1alpha.RequestContext, identity v1alpha.Identity, identified bool) *v1alpha.Consumer {
	switch {
	case !identified:
		return nil
	case identity.Method == "mtls":
		if req.Peer == nil {
			return nil
		}
		var digest [sha256.Size]byte
		if n, err := hex.Decode(digest[:], []byte(req.Peer.Fingerprint)); err != nil || n != sha256.Size {
			return nil
		}
		return p.known.ByCertificate(digest)
	case identity.Issuer == "":
		return nil
	default:
		return p.known.ByClaims(identity.Issuer, identity.Subject)
	}
}

func (p *policy) fits(consumer *v1alpha.Consumer) bool {
	for name, value := range p.Labels {
		if consumer.Labels[name] != value {
			return false
		}
	}
	return true
}

// header returns the change of the header for the upstream; "": the client's is removed.
func (p *policy) header(consumer string) v1alpha.RequestAction {
	if p.Header == "" {
		return nil
	}
	modifications := &v1alpha.UpstreamRequestModifications{}
	if consumer == "" {
		modifications.Headers.Remove = []string{p.Header}
	} else {
		modifications.Headers.Set = []v1alpha.Header{{Name: p.Header, Value: consumer}}
	}
	return modifications
}

// addTo adds the consumer to the identity that there is.
func addTo(metadata *v1alpha.ExchangeMetadata, consumer *v1alpha.Consumer) error {
	value, _ := metadata.Get(v1alpha.IdentityKey)
	before, _ := value.(map[string]any)
	after := maps.Clone(before)
	after["consumer"] = consumer.Name
	delete(after, "plan")
	delete(after, "labels")
	if consumer.Plan != "" {
		after["plan"] = consumer.Plan
	}
	if len(consumer.Labels) > 0 {
		after["labels"] = consumer.Labels
	}
	return metadata.Set(v1alpha.IdentityKey, after)
}

// forget removes a consumer that is not accepted here from the identity, so that no later policy counts by its plan.
func forget(metadata *v1alpha.ExchangeMetadata) error {
	value, _ := metadata.Get(v1alpha.IdentityKey)
	before, ok := value.(map[string]any)
	if !ok || before["consumer"] == nil && before["plan"] == nil && before["labels"] == nil {
		return nil
	}
	after := maps.Clone(before)
	delete(after, "consumer")
	delete(after, "plan")
	delete(after, "labels")
	return metadata.Set(v1alpha.IdentityKey, after)
}

// OnResponse is never called.
func (*policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}
