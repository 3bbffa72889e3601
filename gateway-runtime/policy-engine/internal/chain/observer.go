package chain

import (
	"context"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Observer receives the events of chains. It is called from many goroutines at once, and must not block.
type Observer interface {
	// Executions returns the observer of a policy's executions in a chain. It is called once for each policy of each chain
	// when the chain is made, so that nothing has to be looked up while an exchange runs.
	Executions(labels Labels) ExecutionObserver
	// Exchanges returns the observer of a chain's exchanges, whose labels have no policy. It is called when the chain is
	// made.
	Exchanges(labels Labels) ExchangeObserver
	// MessageRefused reports a request or a response that was refused before any policy saw it.
	MessageRefused(refused RefusedMessage)
	// Add adds to a counter of the whole engine.
	Add(count EngineCount, n uint64)
}

// Labels identify a policy of a chain. Successive chains of one operation have the same labels.
type Labels struct {
	Policy    string // name:version, "add-headers:v1.0.0"
	API       string // the API's name
	Operation string // "GET /{id}"
	Shadow    bool   // of a shadow attachment's executions, which are counted apart
}

// ExecutionObserver receives the events of one policy's executions in one chain. Began and Ended come in pairs.
type ExecutionObserver interface {
	Began()
	Ended(execution Execution)
	// Add adds to a counter of the policy.
	Add(count PolicyCount, n uint64)
	// Close comes once, when the chain has been removed: after its last exchange.
	Close()
}

// ExchangeObserver receives the events of the exchanges of one chain.
type ExchangeObserver interface {
	// Add adds to a counter of exchanges.
	Add(count ExchangeCount, n uint64)
	// Identified reports an exchange whose caller a policy has identified, and the method: "jwt".
	Identified(method string)
	// Planned reports an exchange of a consumer that has a plan, and the plan's name.
	Planned(plan string)
	// Ended reports the result of an exchange, and its duration.
	Ended(result Result, duration time.Duration)
	// Close comes once, when the chain has been removed.
	Close()
}

// Result says how an exchange ended.
type Result uint8

// The results.
const (
	Completed Result = iota // it ended as its chain, or its answer, intended
	Cancelled               // the client or the proxy cancelled it
	Failed                  // through a fault of the engine or the proxy
)

// The phases of an exchange. A policy that streams a body and has a hook besides has two executions in a direction.
const (
	PhaseRequest        = "request"
	PhaseResponse       = "response"
	PhaseRequestStream  = "request_stream"
	PhaseResponseStream = "response_stream"
)

// Execution is one policy's turn in one phase of an exchange: its hook, and the effect of its action; or its stream,
// from start to end.
type Execution struct {
	RequestID string
	Phase     string
	// Duration excludes the wait for the message's body. For a stream it is the time in which a chunk was requested of it
	// and it did not wait for one itself.
	Duration time.Duration
	// Work is the part of Duration in which the policy's own function ran: all of it in the engine; for a Remote policy
	// the time that its process reports; 0: it did not run, or its process did not report.
	Work      time.Duration
	Remote    bool // the policy runs in another process: it MeasuresWork
	Failure   *v1alpha.Failure
	Answered  bool // the policy has answered, and so ended the request phase or replaced the response
	Continued bool // it failed, and onError: continue lets the exchange go on
	Cancelled bool // the exchange ended before its action took effect

	Shadow ShadowOutcome // of a shadow attachment's execution; its Answered and Failure say what it would have done
}

// MeasuresWork is a policy that runs in another process, which reports how long its function ran. It KeepsDeadlines,
// too.
type MeasuresWork interface {
	// WithWork returns a context for one execution. The time for which the function ran is stored in work before the hook,
	// or the stream, returns.
	WithWork(ctx context.Context, work *time.Duration) context.Context
}

// LinksStreams is a policy that runs in another process, where its stream can be given the output of another policy's
// stream without a way through the engine.
type LinksStreams interface {
	// WithSource returns a context for one stream. source is the context of the stream whose output, whole and unchanged, is
	// this one's body; nil: there is none. The chunks are iterated all the same: the chain passes on the output that comes
	// to it, and the end.
	WithSource(ctx, source context.Context) context.Context
}

// RefusedMessage is a message with more headers than its sender may give it.
type RefusedMessage struct {
	RequestID, Phase string
	API, Operation   string
	Reason           string
}

// unobserved is the Observer of a chain that has none.
type unobserved struct{}

func (unobserved) Executions(Labels) ExecutionObserver { return unobservedExecutions{} }
func (unobserved) Exchanges(Labels) ExchangeObserver   { return unobservedExchanges{} }
func (unobserved) MessageRefused(RefusedMessage)       {}
func (unobserved) Add(EngineCount, uint64)             {}

type unobservedExecutions struct{}

func (unobservedExecutions) Began()                  {}
func (unobservedExecutions) Ended(Execution)         {}
func (unobservedExecutions) Add(PolicyCount, uint64) {}
func (unobservedExecutions) Close()                  {}

type unobservedExchanges struct{}

func (unobservedExchanges) Add(ExchangeCount, uint64)   {}
func (unobservedExchanges) Identified(string)           {}
func (unobservedExchanges) Planned(string)              {}
func (unobservedExchanges) Ended(Result, time.Duration) {}
func (unobservedExchanges) Close()                      {}
