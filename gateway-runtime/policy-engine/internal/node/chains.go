package node

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/condition"
	"gatewright.dev/policy-engine/internal/node/rotation"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/policy-engine/internal/secrets"
	"gatewright.dev/policy-engine/internal/xds"
)

// chains owns the chains and instances of a node, and counts their references. A chain lives while a bundle uses it, and its
// grace after that; an instance lives while a chain uses it. Only the node's own goroutine calls its methods, except where a
// comment says otherwise.
type chains struct {
	table       *chain.Table
	operations  *operations.Tables
	attachments *operations.Attachments
	bodies      *chain.Budget
	shadows     *chain.Shadows
	limit       time.Duration  // for requests
	observer    chain.Observer // nil: no observer
	policies    *atomic.Pointer[policies]
	conditions  *condition.Cache
	grace       time.Duration
	gone        func(departure) // called when a retired chain has left the table, from any goroutine
	log         *slog.Logger
	refs        map[string]*chainRef
	instances   map[string]*instanceRef
	binder      *binder
	values      *redaction.Values     // the values of the secrets that instances use
	replaced    map[*chain.Chain]bool // chains that exchanges may still use
	slots       chan struct{}         // one for each factory that runs
	builds      sync.WaitGroup        // builds under way
}

func newChains(options Options, policies *atomic.Pointer[policies], binder *binder, grace time.Duration, gone func(departure)) *chains {
	return &chains{table: options.Table, operations: cmp.Or(options.Operations, &operations.Tables{}), attachments: cmp.Or(options.Attachments, &operations.Attachments{}), bodies: options.Bodies, shadows: options.Shadows, limit: options.RequestLimit, observer: options.Observer, policies: policies, conditions: &condition.Cache{}, grace: grace, gone: gone,
		log: options.Log, refs: map[string]*chainRef{}, instances: map[string]*instanceRef{}, binder: binder, values: cmp.Or(options.Values, &redaction.Values{}), replaced: map[*chain.Chain]bool{}, slots: make(chan struct{}, buildersAtOnce)}
}

type chainRef struct {
	chain      *chain.Chain
	kept       *statedir.Bundle // a bundle that has the chain
	secrets    []secrets.Ref    // the secrets that its instances were built with
	bundles    int              // the number of bundles that use it; 0: it is being retired
	retirement uint64           // counts retirements, so that a departure can be recognized as undone
}

// of returns the version of a bundle that has the chain.
func (r *chainRef) of() rotation.Version {
	return rotation.Version{API: r.chain.API(), Version: r.chain.APIVersion(), Context: r.chain.Context()}
}

type instanceRef struct {
	built  *builtInstance
	chains int
}

// departure is the end of a chain's retirement.
type departure struct {
	chain      string
	retirement uint64
	replaced   *chain.Chain // the replaced chain whose last exchange has ended; nil: a retired chain has left the table
}

// progress is how far a departure has come.
type progress int

const (
	underWay progress = iota
	departed
	undone // a newer version has the chain again
)

func (c *chains) progressOf(d departure) progress {
	switch ref := c.refs[d.chain]; {
	case ref == nil:
		return departed
	case ref.retirement == d.retirement:
		return underWay
	default:
		return undone
	}
}

// errStale reports that an instance which a build relied on has been closed since the build began.
var errStale = errors.New("an instance that was there when the build began has gone")

// acquire makes chains of a build's instances, puts them into the table, and counts the bundle among their users.
// After an error the bundle uses none of them; errStale asks for another build.
func (c *chains) acquire(b *build) error {
	err := c.acquireBundle(b)
	for id, instance := range b.built {
		if ref := c.instances[id]; ref == nil || ref.built != instance {
			c.closeInstance(instance)
		}
	}
	return err
}

func (c *chains) acquireBundle(b *build) error {
	if c.lacksInstance(b) {
		return errStale
	}
	fresh := map[string]*chain.Chain{}
	var mistakes buildErrors
	for _, message := range b.message.GetChains() {
		if id := message.GetId(); c.refs[id] != nil || fresh[id] != nil {
			continue
		}
		if chain := c.newChain(b, message, &mistakes); chain != nil {
			fresh[message.GetId()] = chain
		}
	}
	err := transient.Join(mistakes.err(), b.unresolved, b.unkept)
	if err == nil && len(b.attachedTo) > 0 {
		err = c.attach(b)
	}
	if err != nil {
		for _, chain := range fresh {
			chain.Close()
		}
		return err
	}
	b.refs = make([]*chainRef, 0, len(b.message.GetChains()))
	for _, message := range b.message.GetChains() {
		b.refs = append(b.refs, c.acquireChain(b, message, fresh[message.GetId()]))
	}
	if b.operations != nil && len(b.attachedTo) == 0 {
		c.operations.Acquire(b.operations)
	}
	return nil
}

// attach lets routes of other Envoys lead to the build's table. An API that has one of the names may be about to give it up.
func (c *chains) attach(b *build) error {
	if err := c.attachments.Acquire(b.message.GetApi(), b.message.GetDigest(), b.attachedTo, b.operations); err != nil {
		return transient.Mark(err)
	}
	return nil
}

// lacksInstance reports whether the build needs an instance that is neither running, nor built, nor known to fail.
func (c *chains) lacksInstance(b *build) bool {
	for _, message := range b.message.GetChains() {
		if c.refs[message.GetId()] != nil {
			continue
		}
		for _, attachment := range message.GetAttachments() {
			id := b.instance(attachment)
			if b.bound[attachment.GetInstance()] == nil || c.instances[id] == nil && b.built[id] == nil && b.failures[id] == nil {
				return true
			}
		}
	}
	return false
}

// newChain makes a chain of the build's instances. It returns nil and adds the mistakes to mistakes where that is impossible.
func (c *chains) newChain(b *build, message *nodev1.Chain, mistakes *buildErrors) *chain.Chain {
	failed := false
	fail := func(operation string, err error) {
		mistakes.add(operation, []error{err})
		failed = true
	}
	if err := checkMode(message); err != nil {
		fail(message.GetOperation(), err)
	}
	var instances []*chain.Instance
	for i, attachment := range message.GetAttachments() {
		id := b.instance(attachment)
		switch ref := c.instances[id]; {
		case ref != nil:
			instances = append(instances, ref.built.instance)
		case b.failures[id] != nil:
			fail(attachment.GetOperation(), fmt.Errorf("%s: %w", placeOf(message.GetAttachments(), i), b.failures[id]))
		default:
			instances = append(instances, b.built[id].instance)
		}
	}
	if failed {
		return nil
	}
	built, err := chain.New(chain.Spec{
		ID: message.GetId(), API: b.message.GetApi(), APIVersion: b.message.GetVersion(), Context: b.message.GetContext(),
		Operation: message.GetOperation(), Instances: instances, Bodies: c.bodies, Shadows: c.shadows, Observer: c.observer,
		RequestLimit: c.limit, EncodedResponses: message.GetEncodedResponses(), Upstreams: message.GetUpstreams(),
		Failover:    message.GetFailover(),
		StrictPaths: b.message.GetStrictPaths(), UpstreamPaths: b.upstreamPaths(message),
	})
	if err != nil {
		fail(message.GetOperation(), err)
		return nil
	}
	return built
}

// upstreamPaths returns the rules of a chain. Those of an API's chains are alike as a rule, and then they share a slice.
func (b *build) upstreamPaths(message *nodev1.Chain) []chain.UpstreamPath {
	paths := make([]chain.UpstreamPath, 0, len(message.GetUpstreamPaths()))
	for _, path := range message.GetUpstreamPaths() {
		paths = append(paths, chain.UpstreamPath{
			Upstream: path.GetUpstream(), Base: path.GetBase(), Pattern: path.GetPattern(), Substitution: path.GetSubstitution(),
		})
	}
	if !slices.Equal(paths, b.paths) {
		b.paths = paths
	}
	return b.paths
}

func (c *chains) acquireChain(b *build, message *nodev1.Chain, built *chain.Chain) *chainRef {
	ref := c.refs[message.GetId()]
	if ref == nil {
		ref = &chainRef{kept: b.kept}
		c.bindChain(ref, b, message, built)
		c.refs[message.GetId()] = ref
	}
	if ref.bundles == 0 {
		c.table.Put(ref.chain) // undoes a retirement
		ref.retirement++
	}
	ref.bundles++
	return ref
}

// bindChain makes built the chain of ref, and adds a reference to each of its instances.
func (c *chains) bindChain(ref *chainRef, b *build, message *nodev1.Chain, built *chain.Chain) {
	ref.chain, ref.secrets = built, nil
	for _, attachment := range message.GetAttachments() {
		id := b.instance(attachment)
		ref.secrets = append(ref.secrets, b.bound[attachment.GetInstance()].refs...)
		c.acquireInstance(id, b.built)
	}
}

func (c *chains) acquireInstance(id string, built map[string]*builtInstance) {
	if c.instances[id] == nil {
		c.instances[id] = &instanceRef{built: built[id]}
	}
	c.instances[id].chains++
}

// release undoes the acquire of a version's chains. It returns the departures to come.
func (c *chains) release(refs []*chainRef, bundle *xds.Bundle) []departure {
	var departures []departure
	for _, ref := range refs {
		if ref.bundles--; ref.bundles > 0 {
			continue
		}
		ref.retirement++
		id := ref.chain.ID()
		going := departure{chain: id, retirement: ref.retirement}
		departures = append(departures, going)
		c.table.Retire(id, c.grace, func() { c.gone(going) })
	}
	if len(bundle.AttachedTo) > 0 {
		c.attachments.Release(bundle.API, bundle.Digest)
	} else if bundle.Table != nil {
		c.operations.Release(bundle.Table.ID, c.grace)
	}
	return departures
}

// closeDeparted closes a retired chain that has left the table, and the instances that no other chain uses.
func (c *chains) closeDeparted(departure departure) {
	if departure.replaced != nil {
		c.closeReplaced(departure.replaced)
		return
	}
	ref := c.refs[departure.chain]
	if ref == nil || ref.bundles > 0 || ref.retirement != departure.retirement {
		return
	}
	delete(c.refs, departure.chain)
	ref.chain.Close()
	c.releaseInstances(ref.chain)
}

// releaseInstances removes the references of a closed chain to its instances.
func (c *chains) releaseInstances(closed *chain.Chain) {
	for _, instance := range closed.Instances() {
		ref := c.instances[instance.ID()]
		if ref.chains--; ref.chains == 0 {
			delete(c.instances, instance.ID())
			c.closeInstance(ref.built)
		}
	}
}

func (c *chains) closeInstance(built *builtInstance) {
	c.values.Remove(built.secrets)
	policyInstance := built.instance
	if err := policyInstance.Close(); err != nil {
		c.log.Error("policy instance did not close", "policy", policyInstance.Name(), "instance", policyInstance.ID(), "error", err.Error())
	}
}

// closeAll closes every instance. No exchange is under way any more.
func (c *chains) closeAll() {
	for _, ref := range c.refs {
		ref.chain.Close()
	}
	for old := range c.replaced {
		old.Close()
	}
	clear(c.replaced)
	for _, id := range slices.Sorted(maps.Keys(c.instances)) {
		c.closeInstance(c.instances[id].built)
	}
	clear(c.instances)
	clear(c.refs)
}
