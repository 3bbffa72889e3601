// Package chain executes a chain of Gatewright policies on an HTTP exchange. It knows no proxy and no wire format: a
// front end hands it the messages, and sends the outcome.
package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Spec describes a chain.
type Spec struct {
	ID              string // hash of its content
	API, APIVersion string
	Context         string // the API's context: "/orders/v1.0", "/" for the root
	Operation       string // "GET /{id}"
	Instances       []*Instance
	Upstreams       []string      // the names that policies may choose from
	Bodies          *Budget       // of the bodies that all chains hold together; nil: no limit
	RequestLimit    time.Duration // the time for a request's body to arrive, if a policy needs it whole; 0: no limit
	Observer        Observer      // nil: none
	Shadows         *Shadows      // the bounds of shadow attachments; nil: bounds of this chain's own
	UpstreamPaths   []UpstreamPath

	StrictPaths      bool // a trailing slash does not make another path
	Failover         bool // a policy may name several of Upstreams, as attempts; responses are then read in any case
	EncodedResponses bool // the upstream may encode responses that policies read, as the client accepts; otherwise it is asked not to
}

// Chain is the ordered policy instances of one route. Many exchanges use it at the same time.
type Chain struct {
	spec  Spec
	steps []step
	mode  v1alpha.ProcessingModeConfig
	use   use

	exchanges ExchangeObserver
	template  pathTemplate
	spelling  pathSpelling
	patterns  []rewritePattern // of the upstream paths
	all       []*Instance      // with shadow attachments, for which spec.Instances has placeholders that do nothing

	shadowChain  *Chain // the chain of copied exchanges, with the budget of shadow attachments; nil: no shadow attachments
	onlyShadows  bool   // there are no other attachments
	copiesBodies bool   // a shadow attachment needs a body

	keepsRequestBody bool // for a policy that gets it in the response phase too
	readsResponse    bool // a policy reads the response's body without its content encoding
	refusesEncoded   bool // a policy that reads the body refuses an encoded one
	neverWaits       bool // no policy waits, and none needs a body
}

// step is one policy of a chain.
type step struct {
	*Instance
	observer ExecutionObserver
	shadows  []shadowAttachment // that run at this step; nil: none
}

// New makes a chain. It refuses a spec without an id or instances, and unknown body modes. The caller closes the chain
// after its last exchange.
func New(spec Spec) (*Chain, error) {
	if spec.ID == "" {
		return nil, errors.New("chain: expected an id, got none")
	}
	if len(spec.Instances) == 0 {
		return nil, fmt.Errorf("chain %s: expected at least one policy instance; a route without policies has no chain", spec.ID)
	}
	c := &Chain{spec: spec, mode: v1alpha.ProcessingModeConfig{
		RequestHeaderMode: v1alpha.HeaderSkip, RequestBodyMode: v1alpha.BodySkip,
		ResponseHeaderMode: v1alpha.HeaderSkip, ResponseBodyMode: v1alpha.BodySkip,
	}}
	c.all, c.template = spec.Instances, newPathTemplate(spec.Context, spec.Operation)
	c.spelling = newPathSpelling(spec.StrictPaths, spec.Operation)
	var err error
	if c.patterns, err = newRewritePatterns(spec.UpstreamPaths); err != nil {
		return nil, fmt.Errorf("chain %s: %w", spec.ID, err)
	}
	for _, instance := range spec.Instances {
		if err := c.mergeMode(instance); err != nil {
			return nil, fmt.Errorf("chain %s: policy %s: %w", spec.ID, instance.name, err)
		}
	}
	if spec.Failover {
		c.mode.ResponseHeaderMode = v1alpha.HeaderProcess // they say which upstream has answered
	}
	if spec.Observer == nil {
		c.spec.Observer = unobserved{}
	}
	c.exchanges = c.spec.Observer.Exchanges(Labels{API: spec.API, Operation: spec.Operation})
	c.replaceShadows()
	for n, instance := range c.spec.Instances {
		if c.all[n].settings.Shadow {
			c.steps = append(c.steps, step{Instance: instance, observer: unobservedExecutions{}})
			continue
		}
		labels := Labels{Policy: instance.name, API: spec.API, Operation: spec.Operation}
		c.steps = append(c.steps, step{Instance: instance, observer: c.spec.Observer.Executions(labels)})
	}
	c.placeShadows()
	c.neverWaits = !c.mode.WantsRequestBody() && !c.mode.WantsResponseBody() && !c.copiesBodies &&
		!slices.ContainsFunc(c.steps, func(s step) bool { return !s.neverBlocks })
	return c, nil
}

// Close notifies the chain's observer that no more events will come. It leaves the instances alone, which other chains
// may share.
func (c *Chain) Close() {
	for _, step := range c.steps {
		step.observer.Close()
		for _, shadow := range step.shadows {
			shadow.observer.Close()
		}
	}
	c.exchanges.Close()
}

func (c *Chain) mergeMode(instance *Instance) error {
	mode := instance.settings.Mode
	if err := checkMode(instance); err != nil {
		return err
	}
	if mode.RequestHeaderMode == v1alpha.HeaderProcess {
		c.mode.RequestHeaderMode = v1alpha.HeaderProcess
	}
	if mode.ResponseHeaderMode == v1alpha.HeaderProcess {
		c.mode.ResponseHeaderMode = v1alpha.HeaderProcess
	}
	mergeBody(&c.mode.RequestBodyMode, mode.RequestBodyMode)
	mergeBody(&c.mode.ResponseBodyMode, mode.ResponseBodyMode)
	if instance.settings.Shadow {
		return nil // it gets what is there: the engine asks for nothing that the upstream or the client would notice
	}
	c.keepsRequestBody = c.keepsRequestBody || wantsRequestBodyInResponse(mode)
	c.readsResponse = c.readsResponse || readsResponse(mode)
	c.refusesEncoded = c.refusesEncoded || refusesEncodedResponse(mode)
	return nil
}

// mergeBody makes a mode the union of two: a body that one policy needs whole is buffered, even if others stream it.
func mergeBody(into *v1alpha.BodyMode, mode v1alpha.BodyMode) {
	if mode == v1alpha.BodyBuffer || mode == v1alpha.BodyStream && *into == v1alpha.BodySkip {
		*into = mode
	}
}

// checkMode refuses modes that the policy does not support.
func checkMode(instance *Instance) error {
	mode := instance.settings.Mode
	for _, body := range [...]v1alpha.BodyMode{mode.RequestBodyMode, mode.ResponseBodyMode} {
		if body != "" && body != v1alpha.BodySkip && body != v1alpha.BodyBuffer && body != v1alpha.BodyStream {
			return fmt.Errorf("body mode: expected SKIP, BUFFER or STREAM, got %s", body)
		}
	}
	if instance.settings.Shadow && (mode.StreamsRequestBody() || mode.StreamsResponseBody() || mode.RequestBodyInResponse) {
		return errors.New("shadow: expected a policy that streams no body, without requestBodyInResponse")
	}
	if mode.StreamsRequestBody() && instance.streamRequest == nil {
		return errors.New("requestBodyMode STREAM: expected a policy that has OnRequestStream")
	}
	if mode.StreamsResponseBody() && instance.streamResponse == nil {
		return errors.New("responseBodyMode STREAM: expected a policy that has OnResponseStream")
	}
	if mode.RequestBodyInResponse && (!mode.BuffersRequestBody() || !instance.hasResponseHook()) {
		return errors.New("requestBodyInResponse: expected requestBodyMode BUFFER and a response phase beside it")
	}
	return nil
}

// ID is the chain's id.
func (c *Chain) ID() string { return c.spec.ID }

// API is the name of the API that the chain belongs to.
func (c *Chain) API() string { return c.spec.API }

// APIVersion is the version of that API.
func (c *Chain) APIVersion() string { return c.spec.APIVersion }

// Context is the API's context path.
func (c *Chain) Context() string { return c.spec.Context }

// StrictPaths reports whether a path with a trailing slash is the same path as without.
func (c *Chain) StrictPaths() bool { return c.spec.StrictPaths }

// UpstreamPaths are the rules by which Envoy rewrites paths for the upstreams.
func (c *Chain) UpstreamPaths() []UpstreamPath { return c.spec.UpstreamPaths }

// Operation is the operation of the API: "GET /{id}".
func (c *Chain) Operation() string { return c.spec.Operation }

// Instances are the chain's policy instances in request order, with those of shadow attachments. Do not change the
// slice.
func (c *Chain) Instances() []*Instance { return c.all }

// Mode is what a front end must deliver: the union of the instances' modes. No mode is empty.
func (c *Chain) Mode() v1alpha.ProcessingModeConfig { return c.mode }

// NeverWaits reports whether Run waits for nothing but the front end: no policy waits, and none needs a body.
func (c *Chain) NeverWaits() bool { return c.neverWaits }

// Exchanges is the observer of the chain's exchanges. The caller of Run reports how each has ended.
func (c *Chain) Exchanges() ExchangeObserver { return c.exchanges }

// Active is the number of exchanges under way.
func (c *Chain) Active() int64 { return c.use.active.Load() }

// Run takes one exchange through the chain: the whole execution semantics.
//
// Requests pass the policies in order, responses in reverse. A policy that needs the body waits until all of it has
// come, and so do the policies after it; a policy that streams the body passes the message on with its first chunk.
// Each hook runs once. A policy whose condition is false at its turn runs in neither direction. An answer, a policy's
// own or that of a failure, ends the request phase; then the policies before the one that answered see it as their
// response. In the response phase an answer replaces the response, and the remaining policies see it. Headers and body
// leave when the last policy of the direction has run, or has passed the message on; until then nothing has been sent
// that an answer would have to take back.
//
// If a policy streams the request, its body goes on while the response comes. An answer that ends such a stream takes
// effect as long as the response's headers have not been sent.
//
// An error means that the exchange cannot go on (it was cancelled, the front end failed, a stream ended too late for
// an answer): no more policies run, and the front end must end the exchange with an error of its own.
//
// The watcher is notified of each step; nil: the exchange is not watched. own is the gateway's own answer to a request that
// no policy has answered, which then does not go on; nil: it goes on.
func (c *Chain) Run(ctx context.Context, front FrontEnd, watcher Watcher, own *Answer) error {
	x := newExchange(c, front, watcher)
	defer x.metadata.End()
	defer x.release()
	if x.refuseRequest() {
		return x.sendResponse(ctx)
	}
	ran := 0 // the policies before this one have passed the request on; they see the response
	for ; ran < len(c.steps); ran++ {
		if err := x.passRequest(ctx, ran); err != nil {
			return err
		}
		if x.answered || x.responded {
			break
		}
	}
	if own != nil && !x.answered && !x.responded {
		x.answerOwn(own)
	}
	if !x.answered {
		if err := x.endStream(x.sendRequest(ctx)); err != nil || !x.answered && !c.mode.WantsResponse() {
			return err
		}
	}
	if !x.answered {
		if err := x.endStream(x.awaitResponse(ctx)); err != nil {
			return err
		}
	}
	for last := ran - 1; last >= 0; last-- {
		if err := x.passResponse(ctx, last); err != nil {
			return err
		}
	}
	return x.sendResponse(ctx)
}
