package chain

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"gatewright.dev/policy-engine/internal/chain/shadow"
	"gatewright.dev/sdk/policy/v1alpha"
)

// The defaults of an attachment's settings.
const (
	DefaultTimeout      = time.Second
	DefaultMaxBodyBytes = 1 << 20
)

// Settings are an attachment's settings.
type Settings struct {
	Timeout        time.Duration // for one execution; for a stream's own work between two chunks; 0 is DefaultTimeout
	OnError        OnError
	MaxConcurrency int   // executions under way at once; 0: the chain sets no limit
	MaxBodyBytes   int64 // of a body that the policy reads; 0 is DefaultMaxBodyBytes
	Mode           v1alpha.ProcessingModeConfig
	When           Condition // nil: the policy applies to all exchanges

	StreamIdleTimeout time.Duration // how long a stream may wait for a chunk; 0: the chain sets no limit

	Shadow bool // it runs beside the exchange, and its action is not applied
}

// Reaction is the effect of a failed execution on the exchange.
type Reaction uint8

// The reactions.
const (
	Fail     Reaction = iota // the client gets an error
	Continue                 // the action is discarded, and the chain goes on
)

// OnError is the reaction to each failure class: ByClass, or Default.
type OnError struct {
	Default Reaction
	ByClass map[v1alpha.FailureClass]Reaction
}

// For returns the reaction to class. It is always Fail if the policy's condition could not be evaluated.
func (o OnError) For(class v1alpha.FailureClass) Reaction {
	if class == ClassCondition {
		return Fail
	}
	if reaction, ok := o.ByClass[class]; ok {
		return reaction
	}
	return o.Default
}

// Instance is a policy instance as chains hold it: the policy under its settings, and guarded. Chains of several
// operations may share it.
type Instance struct {
	id, name string
	policy   v1alpha.Policy
	settings Settings

	onRequest      hook[*v1alpha.RequestContext, v1alpha.RequestAction]
	onResponse     hook[*v1alpha.ResponseContext, v1alpha.ResponseAction]
	streamRequest  v1alpha.RequestStreamer  // nil unless the mode streams the request's body
	streamResponse v1alpha.ResponseStreamer // nil unless the mode streams the response's body
	neverBlocks    bool
	keepsDeadlines bool
	measured       MeasuresWork // nil: it runs in this process
	links          LinksStreams // nil: its streams have no sources
	slots          chan struct{}
	turns          *shadow.Turns // of a shadow attachment's executions; nil: the instance is not one

	active atomic.Int64

	close func() error
}

// hasRequestHook reports whether OnRequest is called.
func (i *Instance) hasRequestHook() bool {
	return i.settings.Mode.RequestHeaderMode == v1alpha.HeaderProcess || i.settings.Mode.BuffersRequestBody()
}

// hasResponseHook reports whether OnResponse is called.
func (i *Instance) hasResponseHook() bool {
	return i.settings.Mode.ResponseHeaderMode == v1alpha.HeaderProcess || i.settings.Mode.BuffersResponseBody()
}

type hook[C, A any] func(context.Context, C) (A, error)

// NewInstance puts policy under settings. name is name:version, "add-headers:v1.0.0". The instance owns policy.
func NewInstance(id, name string, policy v1alpha.Policy, settings Settings) *Instance {
	settings.Timeout = cmp.Or(settings.Timeout, DefaultTimeout)
	settings.MaxBodyBytes = cmp.Or(settings.MaxBodyBytes, DefaultMaxBodyBytes)
	i := &Instance{
		id: id, name: name, policy: policy, settings: settings,
		onRequest: policy.OnRequest, onResponse: policy.OnResponse, close: sync.OnceValue(policy.Close),
	}
	if settings.Mode.StreamsRequestBody() {
		i.streamRequest, _ = policy.(v1alpha.RequestStreamer)
	}
	if settings.Mode.StreamsResponseBody() {
		i.streamResponse, _ = policy.(v1alpha.ResponseStreamer)
	}
	_, i.neverBlocks = policy.(v1alpha.NeverBlocks)
	_, i.keepsDeadlines = policy.(v1alpha.KeepsDeadlines)
	if i.keepsDeadlines {
		i.measured, _ = policy.(MeasuresWork)
		i.links, _ = policy.(LinksStreams)
	}
	if settings.Shadow {
		settings.MaxConcurrency = cmp.Or(settings.MaxConcurrency, DefaultShadowConcurrency)
		i.settings, i.turns = settings, shadow.NewTurns(settings.MaxConcurrency)
	}
	if settings.MaxConcurrency > 0 {
		i.slots = make(chan struct{}, settings.MaxConcurrency)
	}
	return i
}

// ID is the instance's id.
func (i *Instance) ID() string { return i.id }

// Name is the policy's name:version.
func (i *Instance) Name() string { return i.name }

// Settings are the attachment's settings, with defaults filled in.
func (i *Instance) Settings() Settings { return i.settings }

// Close closes the policy, once; every call returns the first call's error.
func (i *Instance) Close() error { return i.close() }

// Active is the number of the instance's running hooks, with late ones.
func (i *Instance) Active() int64 { return i.active.Load() }
