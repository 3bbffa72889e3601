package chain

import "gatewright.dev/sdk/policy/v1alpha"

// The counters of the request path. Each is one declaration below, and one call of an observer where its event happens.
// Storage, series, totals and the metrics of GET /metrics are made from the tables that the declarations fill.

// The tables, which are complete once the program runs.
var (
	EngineCounters    CounterTable
	ExchangeCounters  CounterTable
	ExecutionCounters CounterTable
)

// The scopes of counters: their labels.
var (
	engineScope    = scope[EngineCount]{table: &EngineCounters}
	exchangeScope  = scope[ExchangeCount]{table: &ExchangeCounters, labels: []string{"api", "operation"}}
	policyScope    = scope[PolicyCount]{table: &ExecutionCounters, labels: []string{"api", "operation", "policy"}}
	executionScope = scope[ExecutionCount]{table: &ExecutionCounters, labels: []string{"api", "operation", "policy", "phase"}}
	shadowScope    = scope[ExecutionCount]{table: &ExecutionCounters, labels: executionScope.labels, shadow: true}
)

// The counters: of a scope, by a label of their own or without; the metric's name without its prefix, and its help.
var (
	UnknownChains   = engineScope.counter("unknown_chain_total", "Requests answered 503 because their route named a chain that the engine does not have.")
	AttachedRefused = engineScope.counterBy("reason", attachedRefusals[:], "attached_refused_total", "Requests of other Envoys that were refused before their chain was known.")

	ExchangesEnded = exchangeScope.counterBy("result", results[:], "exchanges_total", "HTTP exchanges on routes with policies that have ended.")
	BodyBytes      = exchangeScope.counterBy("direction", directions[:], "body_bytes_total", "Bytes of bodies that policies wanted, as received.")

	ExecutionsEnded     = executionScope.counterBy("outcome", Outcomes[:], "executions_total", "Turns of policies that have ended.")
	ExecutionsContinued = executionScope.counter("executions_continued_total", "Failed executions that onError: continue ignored.")
	ExecutionsSkipped   = policyScope.counter("executions_skipped_total", "Exchanges to which a policy did not apply, by its condition.")
	ShadowsEnded        = shadowScope.counterBy("outcome", ShadowOutcomes[:], "shadow_executions_total", "Executions of policies in shadow attachments that have ended, or were skipped.")
)

// The values of these counters' labels. Those of attachedRefusals stand in the order of exchange.AttachedRefusal.
var (
	attachedRefusals = [...]string{"unknown_name", "unnormalized_path", "outdated_proxy"}
	results          = [...]string{Completed: "completed", Cancelled: "cancelled", Failed: "failed"}
	directions       = [...]string{Request: Request.String(), Response: Response.String()}
)

// Outcomes are the ways in which an execution ends: successfully, cancelled, or with a failure of a class. For shadow
// attachments they are ShadowOutcomes.
var Outcomes = [...]string{
	"ok", "cancelled", string(v1alpha.ClassTimeout), string(v1alpha.ClassOverloaded), string(v1alpha.ClassUnavailable),
	string(v1alpha.ClassCrashed), string(v1alpha.ClassException), string(v1alpha.ClassBadAction),
	string(v1alpha.ClassBodyTooLarge), string(v1alpha.ClassBadBody), string(ClassCondition),
}

// Indexes of Outcomes.
const (
	OutcomeOK = iota
	OutcomeCancelled
	OutcomeFailed // the first failure class
)

// EngineCount is a count that an Observer adds to. Like the counts of the types below it is the index of one total in the
// storage of its table: a counter has one for each value of its label.
type EngineCount int

// ExchangeCount is a count that an ExchangeObserver adds to.
type ExchangeCount int

// PolicyCount is a count that an ExecutionObserver adds to.
type PolicyCount int

// ExecutionCount is a count that an ExecutionObserver adds to when an execution has ended.
type ExecutionCount int

// CounterTable has the counters that are stored together.
type CounterTable struct {
	All  []Counter
	Size int // number of their counts
}

// Counter is a counter of the request path.
type Counter struct {
	Name, Help string
	Scope      []string // the labels that its scope has
	Shadow     bool     // of shadow attachments' executions; other counters exclude these
	Label      string   // a label of its own; "": none
	Values     []string // of this label; a single "" without a label
	First      int      // the count of the first value; those of the others follow
}

// Labels are the names of all labels.
func (c *Counter) Labels() []string { return c.withOwn(c.Scope, c.Label) }

// LabelValues are the values of all labels, from those of the scope and the index of the counter's own.
func (c *Counter) LabelValues(scope []string, value int) []string {
	return c.withOwn(scope[:len(c.Scope)], c.Values[value])
}

func (c *Counter) withOwn(labels []string, own string) []string {
	if c.Label == "" {
		return labels
	}
	return append(labels[:len(labels):len(labels)], own)
}

// scope declares counters of its labels.
type scope[C ~int] struct {
	table  *CounterTable
	labels []string
	shadow bool
}

// counter declares a counter without a label of its own.
func (s scope[C]) counter(name, help string) C { return s.counterBy("", []string{""}, name, help)[0] }

// counterBy declares a counter with a label, and returns the counts by the label's values.
func (s scope[C]) counterBy(label string, values []string, name, help string) []C {
	counts := make([]C, len(values))
	for n := range counts {
		counts[n] = C(s.table.Size + n)
	}
	s.table.All = append(s.table.All, Counter{
		Name: name, Help: help, Scope: s.labels, Shadow: s.shadow, Label: label, Values: values, First: s.table.Size,
	})
	s.table.Size += len(values)
	return counts
}
