package chain

import "gatewright.dev/sdk/policy/v1alpha"

// Identity is who a request is from, as policies have said, for logs and metrics.
type Identity struct{ Subject, Issuer, Method string }

// newIdentity is who the request is from, where that has not been told yet; nil: there is nothing new.
func (x *exchange) newIdentity() *Identity {
	said, _ := v1alpha.IdentityOf(&x.metadata)
	now := Identity{Subject: said.Subject, Issuer: said.Issuer, Method: said.Method}
	if now == x.identity {
		return nil
	}
	if x.identity == (Identity{}) {
		x.chain.exchanges.Identified(now.Method)
	}
	x.identity = now
	told := now // a copy, so that only this one is on the heap
	return &told
}
