// Package chain is what a Gatewright policy chain does with an HTTP exchange. It knows no proxy and no wire: a front
// end gives it the message and takes the outcome.
package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Spec is what a chain is made of.
type Spec struct {
	ID              string // hash of its content
	API, APIVersion string
	Context         string // the API's context: "/orders/v1.0", "/" for the root
	Operation       string // "GET /{id}"
	Instances       []*Instance
	Upstreams       []string      // names that a policy may choose by upstream
	Bodies          *Budget       // for the bodies that it holds, of all chains together; nil: without a limit
	RequestLimit    time.Duration // for a request's body to come in, where a policy wants it whole; 0: any time
	Observer        Observer      // nil: there is none
	Shadows         *Shadows      // what shadow attachments may take; nil: what one chain's may
	UpstreamPaths   []UpstreamPath

	StrictPaths      bool // a slash at the end makes no other path
	EncodedResponses bool // upstream may encode responses that policies read, as the client accepts; else it is asked not to
}

// Chain is the ordered policy instances of one route. It is used by many exchanges at the same time.
type Chain struct {
	spec  Spec
	steps []step
	mode  v1alpha.ProcessingModeConfig
	use   use

	exchanges ExchangeObserver
	template  pathTemplate
	spelling  pathSpelling
	paths     upstreamPaths
	all       []*Instance // with those of shadow attachments, in whose place spec.Instances has one that does nothing

	beside       *Chain // what copies of its exchanges see of it: with the budget of shadow attachments; nil: there are none
	onlyShadows  bool   // there is no other attachment
	copiesBodies bool   // a shadow attachment wants a body

	keepsRequestBody bool // for a policy that is given it in the response phase too
	readsResponse    bool // a policy reads the response's body, and wants it without a content encoding
	refusesEncoded   bool // one of those does not want it decoded either
}

// step is one policy of a chain.
type step struct {
	*Instance
	observer ExecutionObserver
	shadows  []shadow // that run at this place; nil: none
}

// New makes a chain. It refuses one without an id or an instance, and body modes it does not know.
// The caller closes it when its last exchange has ended.
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
	if c.paths, err = newUpstreamPaths(spec.UpstreamPaths, spec.Context); err != nil {
		return nil, fmt.Errorf("chain %s: %w", spec.ID, err)
	}
	for _, instance := range spec.Instances {
		if err := c.mergeMode(instance); err != nil {
			return nil, fmt.Errorf("chain %s: policy %s: %w", spec.ID, instance.name, err)
		}
	}
	if spec.Observer == nil {
		c.spec.Observer = unobserved{}
	}
	c.exchanges = c.spec.Observer.Exchanges(Labels{API: spec.API, Operation: spec.Operation})
	c.setShadowsApart()
	for n, instance := range c.spec.Instances {
		if c.all[n].settings.Shadow {
			c.steps = append(c.steps, step{Instance: instance, observer: unobserved{}})
			continue
		}
		labels := Labels{Policy: instance.name, API: spec.API, Operation: spec.Operation}
		c.steps = append(c.steps, step{Instance: instance, observer: c.spec.Observer.Executions(labels)})
	}
	c.placeShadows()
	return c, nil
}

// Close tells the chain's observer that nothing more comes. It leaves the instances alone, which other chains may share.
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
		return nil // it takes what there is: nothing is asked for that upstream or the client would notice
	}
	c.keepsRequestBody = c.keepsRequestBody || wantsRequestBodyInResponse(mode)
	c.readsResponse = c.readsResponse || readsResponse(mode)
	c.refusesEncoded = c.refusesEncoded || refusesEncodedResponse(mode)
	return nil
}

// mergeBody makes a mode the union of two: a body that one policy wants whole is buffered for it, whoever streams it.
func mergeBody(into *v1alpha.BodyMode, mode v1alpha.BodyMode) {
	if mode == v1alpha.BodyBuffer || mode == v1alpha.BodyStream && *into == v1alpha.BodySkip {
		*into = mode
	}
}

// checkMode refuses modes that the policy cannot have.
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

// StrictPaths reports whether a slash at the end makes no other path.
func (c *Chain) StrictPaths() bool { return c.spec.StrictPaths }

// UpstreamPaths say what becomes of paths upstream.
func (c *Chain) UpstreamPaths() []UpstreamPath { return c.spec.UpstreamPaths }

// Operation is the operation of the API: "GET /{id}".
func (c *Chain) Operation() string { return c.spec.Operation }

// Instances are the chain's policy instances in request order, those of shadow attachments too. Do not change the slice.
func (c *Chain) Instances() []*Instance { return c.all }

// Mode is what a front end must deliver: the union of the instances' modes, no mode empty.
func (c *Chain) Mode() v1alpha.ProcessingModeConfig { return c.mode }

// Exchanges is what is told of the chain's exchanges: how each has ended, by whoever runs it.
func (c *Chain) Exchanges() ExchangeObserver { return c.exchanges }

// Active is the number of exchanges under way.
func (c *Chain) Active() int64 { return c.use.active.Load() }

// Run takes one exchange through the chain: the whole execution semantics.
//
// Requests pass the policies in order, responses in reverse. A policy that wants the body waits until all of it is
// there, and so do the policies after it; one that streams the body passes the message on with its first chunk. Each hook
// runs once. A policy whose condition says so at its turn has no hook in either direction. An answer, a policy's own or the one that a failure gives, ends the request phase; then the policies before
// the one it came from see it as their response. In the response phase an answer replaces the response, and the policies
// still to come see it. Headers and body leave when the last policy of the direction has run, or has passed the message
// on; until then nothing has gone out that an answer would have to take back.
//
// Where a policy streams the request, its body goes on while the response comes. What ends such a stream with an answer
// counts as long as the response's headers have not left.
//
// An error means that the exchange cannot go on (its client is gone, the front end failed, a stream ended too late for an
// answer): nothing more runs, and the front end must end the exchange with an error of its own.
//
// The watcher is told of the exchange; nil: nobody looks.
func (c *Chain) Run(ctx context.Context, front FrontEnd, watcher Watcher) error {
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
