package chain

import (
	"context"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Observer is told what chains do. It is called from many goroutines at once, and must not wait for anything.
type Observer interface {
	// Executions returns what is told of a policy's executions in a chain. It is called once for each policy of each
	// chain when the chain is made, so that nothing has to be looked up while an exchange runs.
	Executions(labels Labels) ExecutionObserver
	// Exchanges returns what is told of a chain's exchanges, whose labels have no policy. It is called when the chain is made.
	Exchanges(labels Labels) ExchangeObserver
	// MessageRefused is told of a request or a response that no policy has seen.
	MessageRefused(refused RefusedMessage)
}

// Labels say whose executions they are. Chains of one operation, one after the other, have the same.
type Labels struct {
	Policy    string // name:version, "add-headers:v1.0.0"
	API       string // the API's name
	Operation string // "GET /{id}"
	Shadow    bool   // of a shadow attachment's executions, which are counted apart
}

// ExecutionObserver is told of one policy's executions in one chain. Began and Ended come in pairs.
type ExecutionObserver interface {
	Began()
	Ended(execution Execution)
	// Skipped is told of each exchange to which the policy does not apply: it has no execution there.
	Skipped()
	// Close comes once, when the chain has gone: after its last exchange.
	Close()
}

// ExchangeObserver is told of the exchanges of one chain.
type ExchangeObserver interface {
	// BodyRead is told of each piece of a body that comes into the chain, in bytes.
	BodyRead(direction Direction, bytes int)
	// Identified is told of each exchange for which a policy has found out who it is from, and how: "jwt".
	Identified(method string)
	// Ended is told how an exchange has ended, and how long after its beginning.
	Ended(result Result, duration time.Duration)
	// Close comes once, when the chain has gone.
	Close()
}

// Result says how an exchange ended.
type Result uint8

// The results.
const (
	Completed Result = iota // as its chain, or the answer for it, would have it
	Cancelled               // the client or the proxy went away
	Failed                  // by a fault of the engine's or the proxy's
)

// The phases of an exchange. A policy that streams a body has two executions in a direction, where it has a hook beside.
const (
	PhaseRequest        = "request"
	PhaseResponse       = "response"
	PhaseRequestStream  = "request_stream"
	PhaseResponseStream = "response_stream"
)

// Execution is one policy's turn in one phase of an exchange: its hook, and what the chain makes of the action; or its
// stream, from its start to its end.
type Execution struct {
	RequestID string
	Phase     string
	// Duration is without the wait for the message's body. Of a stream it is the time in which it was asked for a chunk
	// and did not wait for one itself.
	Duration time.Duration
	// Work is how long of that the policy's own function ran. Of one that runs in the engine it is all of it, of one that
	// is Remote what its process says; 0: it did not run, or nothing was said.
	Work      time.Duration
	Remote    bool // the policy runs in another process: it MeasuresWork
	Failure   *v1alpha.Failure
	Answered  bool // the policy has answered, and so ended the request phase or replaced the response
	Continued bool // there is a failure, and onError: continue lets the exchange go on
	Cancelled bool // the exchange ended before its action counted

	Shadow ShadowOutcome // of a shadow attachment's execution, of which Answered and Failure say what it would have done
}

// MeasuresWork is a policy that runs in another process, which says how long its function ran. It KeepsDeadlines, too.
type MeasuresWork interface {
	// WithWork returns a context for one execution: where its end says how long the function ran, work becomes that before
	// the hook, or the stream, has returned.
	WithWork(ctx context.Context, work *time.Duration) context.Context
}

// RefusedMessage is a message with more headers than its sender may give it.
type RefusedMessage struct {
	RequestID, Phase string
	API, Operation   string
	Reason           string
}

// unobserved is the Observer of a chain that has none.
type unobserved struct{}

func (unobserved) Executions(Labels) ExecutionObserver { return unobserved{} }
func (unobserved) Exchanges(Labels) ExchangeObserver   { return unobservedExchanges{} }
func (unobserved) MessageRefused(RefusedMessage)       {}
func (unobserved) Began()                              {}
func (unobserved) Ended(Execution)                     {}
func (unobserved) Skipped()                            {}
func (unobserved) Close()                              {}

type unobservedExchanges struct{}

func (unobservedExchanges) BodyRead(Direction, int)     {}
func (unobservedExchanges) Identified(string)           {}
func (unobservedExchanges) Ended(Result, time.Duration) {}
func (unobservedExchanges) Close()                      {}
