package v1alpha

import "crypto/sha256"

// Consumers are the consumers and plans of the controller, as the node has them at this moment: a change counts from the next call
// on, and rebuilds no instance. A Factory finds them in its Metadata. All methods return quickly, and nil if there is none. Do not
// change what they return.
type Consumers interface {
	// ByKey returns the consumer that has the API key with this SHA-256; nil too if the key has expired.
	ByKey(digest [sha256.Size]byte) *Consumer
	// ByClaims returns the consumer that a JWT is about, by its iss and sub, or else the consumer of all tokens of this issuer.
	ByClaims(issuer, subject string) *Consumer
	// ByCertificate returns the consumer that has the client certificate with this SHA-256 (of its DER).
	ByCertificate(digest [sha256.Size]byte) *Consumer
	// Plan returns the plan of this name. As long as a plan is unchanged it has the same pointer.
	Plan(name string) *Plan
}

// Consumer is a client of APIs that the controller knows.
type Consumer struct {
	Name   string
	Plan   string // of a Plan; "": none
	Labels map[string]string
}

// Plan is what a consumer may use. Both members are JSON; nil: none.
type Plan struct {
	Name   string
	Limits []byte // a list of limits, each as in the parameters of rate-limit
	Quotas []byte // a list of {"requests": 1000, "period": "day"}
}

// Identity returns what a policy that has recognized the consumer puts into the exchange's metadata (IdentityKey). method: the way
// of identification, "api-key".
func (c *Consumer) Identity(method string) map[string]any {
	identity := map[string]any{"subject": c.Name, "consumer": c.Name, "method": method}
	if c.Plan != "" {
		identity["plan"] = c.Plan
	}
	if len(c.Labels) > 0 {
		identity["labels"] = c.Labels
	}
	return identity
}
