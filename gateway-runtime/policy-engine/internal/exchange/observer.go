package exchange

import "gatewright.dev/policy-engine/internal/chain"

// Observer receives the events of exchanges and their chains. It is called from many goroutines at once, and must not
// block.
type Observer interface {
	chain.Observer
	// ExchangeBegan and ExchangeEnded come in pairs. The observer of the chain's exchanges is notified of the end first.
	ExchangeBegan()
	// ChainUnknown reports a route whose chain the engine does not have, before the answer.
	ChainUnknown(unknown UnknownChain)
	ExchangeEnded(exchange Exchange)
	// AttachedRefused reports a request of another Envoy that is refused before its chain is known, before the answer.
	AttachedRefused(refused RefusedAttached)
}

// RefusedAttached is a request of another Envoy that is refused before its chain is known. Name is that of its route.
type RefusedAttached struct {
	RequestID, Name string
	Reason          AttachedRefusal
	Outdated        string // as in Opening
}

// AttachedRefusal is a reason for that, and an index of chain.AttachedRefusals.
type AttachedRefusal int

// The reasons.
const (
	UnknownName AttachedRefusal = iota
	UnnormalizedPath
	OutdatedProxy
)

// Exchange is an HTTP exchange that has ended.
type Exchange struct {
	RequestID string // "" if no request came
	ChainID   string // "" if no request came
	Result    chain.Result
	Err       error // why it was cancelled or has failed; the client never sees it
}

// UnknownChain is a request whose route names a chain that the engine does not have.
type UnknownChain struct{ RequestID, ChainID, Route string }
