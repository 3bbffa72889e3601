package chain

import "gatewright.dev/sdk/policy/v1alpha"

// Identity is the caller of a request, as policies have established it, for logs and metrics.
type Identity struct {
	Subject, Issuer, Method string
	Consumer, Plan          string // "": it is no consumer of the controller, or has no plan

	WithConsumer bool // whether Consumer and Plan are sent: they are not "", or were not before
}

// newIdentity returns the request's identity unless it has been sent already; nil: it has not changed.
func (x *exchange) newIdentity() *Identity {
	established, _ := v1alpha.IdentityOf(&x.metadata)
	if established.Plan != "" && !x.planned {
		x.planned = true
		x.chain.exchanges.Planned(established.Plan)
	}
	current := Identity{
		Subject: established.Subject, Issuer: established.Issuer, Method: established.Method,
		Consumer: established.Consumer, Plan: established.Plan,
	}
	current.WithConsumer = current.Consumer != "" || x.identity.WithConsumer
	if current == x.identity {
		return nil
	}
	if x.identity == (Identity{}) {
		x.chain.exchanges.Identified(current.Method)
	}
	x.identity = current
	copied := current // a copy, so that only this one is on the heap
	return &copied
}
