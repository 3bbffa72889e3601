package exchange

import "gatewright.dev/policy-engine/internal/chain"

// Observer is told what exchanges and their chains do. It is called from many goroutines at once, and must not wait for
// anything.
type Observer interface {
	chain.Observer
	// ExchangeBegan and ExchangeEnded come in pairs. Before the latter what is told of the chain's exchanges hears of the end.
	ExchangeBegan()
	// ChainUnknown is told of a route that names a chain which the engine does not have, before that is answered.
	ChainUnknown(unknown UnknownChain)
	ExchangeEnded(exchange Exchange)
}

// Exchange is an HTTP exchange that has ended.
type Exchange struct {
	RequestID string // "" where no request came
	ChainID   string // "" where no request came
	Result    chain.Result
	Err       error // why it was cancelled or has failed; never for the client
}

// UnknownChain is a request whose route names a chain that the engine does not have.
type UnknownChain struct{ RequestID, ChainID, Route string }
