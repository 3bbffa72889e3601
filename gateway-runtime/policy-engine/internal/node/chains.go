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
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/policy-engine/internal/secrets"
)

// chains owns the chains and instances of a node, and counts who uses them. A chain lives while a bundle uses it, and its
// grace after that; an instance while a chain does. Only the node's own goroutine calls it, but for what says that it is called from another one.
type chains struct {
	table      *chain.Table
	bodies     *chain.Budget
	shadows    *chain.Shadows
	limit      time.Duration  // of requests
	observer   chain.Observer // nil: there is none
	policies   *atomic.Pointer[policies]
	conditions *condition.Cache
	grace      time.Duration
	gone       func(departure) // called when a retired chain has left the table, from any goroutine
	log        *slog.Logger
	refs       map[string]*chainRef
	instances  map[string]*instanceRef
	binder     *binder
	values     *redaction.Values       // of the secrets that instances hold
	replaced   map[*replacedChain]bool // that exchanges may still be in
	slots      chan struct{}           // for factories that run
	builds     sync.WaitGroup          // under way
}

func newChains(options Options, policies *atomic.Pointer[policies], binder *binder, grace time.Duration, gone func(departure)) *chains {
	return &chains{table: options.Table, bodies: options.Bodies, shadows: options.Shadows, limit: options.RequestLimit, observer: options.Observer, policies: policies, conditions: &condition.Cache{}, grace: grace, gone: gone,
		log: options.Log, refs: map[string]*chainRef{}, instances: map[string]*instanceRef{}, binder: binder, values: cmp.Or(options.Values, &redaction.Values{}), replaced: map[*replacedChain]bool{}, slots: make(chan struct{}, buildersAtOnce)}
}

type chainRef struct {
	chain      *chain.Chain
	bundle     *nodev1.ApiBundle // one that has it, and
	message    *nodev1.Chain     // it there
	instances  []string
	secrets    []secrets.Ref // that its instances were built with
	bundles    int           // that use it; 0 is retiring
	retirement uint64        // counts, so that a departure which was taken back is known
}

type instanceRef struct {
	made   *builtInstance
	chains int
}

// departure is the end of one retirement of one chain.
type departure struct {
	chain      string
	retirement uint64
	replaced   *replacedChain // whose last exchange has ended; nil: the chain has left the table
}

// errStale says that an instance which a build counted on has gone meanwhile.
var errStale = errors.New("an instance that was there when the build began has gone")

// acquire makes chains of what was built for a bundle, puts them into the table, and counts the bundle among their users.
// After an error it has none of them; errStale asks for another build.
func (c *chains) acquire(b *build) error {
	err := c.acquireBundle(b)
	for id, made := range b.built {
		if ref := c.instances[id]; ref == nil || ref.made != made {
			c.closeInstance(made)
		}
	}
	return err
}

func (c *chains) acquireBundle(b *build) error {
	if c.misses(b) {
		return errStale
	}
	fresh := map[string]*chain.Chain{}
	var wrong buildErrors
	for _, message := range b.message.GetChains() {
		if id := message.GetId(); c.refs[id] != nil || fresh[id] != nil {
			continue
		}
		if chain := c.newChain(b, message, &wrong); chain != nil {
			fresh[message.GetId()] = chain
		}
	}
	if err := join(wrong.err(), b.unresolved); err != nil {
		for _, chain := range fresh {
			chain.Close()
		}
		return err
	}
	for _, message := range b.message.GetChains() {
		c.acquireChain(b, message, fresh[message.GetId()])
	}
	return nil
}

// misses reports whether an instance of the bundle is neither there, nor built, nor known to fail.
func (c *chains) misses(b *build) bool {
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

// newChain is nil where something is wrong with it, which is added to wrong.
func (c *chains) newChain(b *build, message *nodev1.Chain, wrong *buildErrors) *chain.Chain {
	failed := false
	fail := func(operation string, err error) {
		wrong.add(operation, []error{err})
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
			instances = append(instances, ref.made.instance)
		case b.failures[id] != nil:
			fail(attachment.GetOperation(), fmt.Errorf("%s: %w", placeOf(message.GetAttachments(), i), b.failures[id]))
		default:
			instances = append(instances, b.built[id].instance)
		}
	}
	if failed {
		return nil
	}
	made, err := chain.New(chain.Spec{
		ID: message.GetId(), API: b.message.GetApi(), APIVersion: b.message.GetVersion(), Context: b.message.GetContext(),
		Operation: message.GetOperation(), Instances: instances, Bodies: c.bodies, Shadows: c.shadows, Observer: c.observer,
		RequestLimit: c.limit, EncodedResponses: message.GetEncodedResponses(), Upstreams: message.GetUpstreams(),
		StrictPaths: b.message.GetStrictPaths(), UpstreamPaths: upstreamPaths(message),
	})
	if err != nil {
		fail(message.GetOperation(), err)
		return nil
	}
	return made
}

func upstreamPaths(message *nodev1.Chain) []chain.UpstreamPath {
	var paths []chain.UpstreamPath
	for _, path := range message.GetUpstreamPaths() {
		paths = append(paths, chain.UpstreamPath{
			Upstream: path.GetUpstream(), Base: path.GetBase(), Pattern: path.GetPattern(), Substitution: path.GetSubstitution(),
		})
	}
	return paths
}

func (c *chains) acquireChain(b *build, message *nodev1.Chain, fresh *chain.Chain) {
	ref := c.refs[message.GetId()]
	if ref == nil {
		ref = &chainRef{bundle: b.message, message: message}
		c.hold(ref, b, fresh)
		c.refs[message.GetId()] = ref
	}
	if ref.bundles == 0 {
		c.table.Put(ref.chain) // takes a retirement back
		ref.retirement++
	}
	ref.bundles++
}

// hold makes what was built the chain of ref, and counts it among the users of its instances.
func (c *chains) hold(ref *chainRef, b *build, fresh *chain.Chain) {
	ref.chain, ref.instances, ref.secrets = fresh, nil, nil
	for _, attachment := range ref.message.GetAttachments() {
		id := b.instance(attachment)
		ref.instances = append(ref.instances, id)
		ref.secrets = append(ref.secrets, b.bound[attachment.GetInstance()].refs...)
		c.acquireInstance(id, b.built)
	}
}

func (c *chains) acquireInstance(id string, built map[string]*builtInstance) {
	if c.instances[id] == nil {
		c.instances[id] = &instanceRef{made: built[id]}
	}
	c.instances[id].chains++
}

// release undoes acquire. It returns the departures to come.
func (c *chains) release(bundle *nodev1.ApiBundle) []departure {
	var leaving []departure
	for _, message := range bundle.GetChains() {
		ref := c.refs[message.GetId()]
		if ref.bundles--; ref.bundles > 0 {
			continue
		}
		ref.retirement++
		going := departure{chain: message.GetId(), retirement: ref.retirement}
		leaving = append(leaving, going)
		c.table.Retire(message.GetId(), c.grace, func() { c.gone(going) })
	}
	return leaving
}

// departed is told that a retired chain has left the table, and closes the instances that no chain needs any more.
func (c *chains) departed(gone departure) {
	if gone.replaced != nil {
		c.closeReplaced(gone.replaced)
		return
	}
	ref := c.refs[gone.chain]
	if ref == nil || ref.bundles > 0 || ref.retirement != gone.retirement {
		return
	}
	delete(c.refs, gone.chain)
	ref.chain.Close()
	for _, id := range ref.instances {
		c.releaseInstance(id)
	}
}

func (c *chains) releaseInstance(id string) {
	ref := c.instances[id]
	if ref.chains--; ref.chains == 0 {
		delete(c.instances, id)
		c.closeInstance(ref.made)
	}
}

func (c *chains) closeInstance(made *builtInstance) {
	c.values.Remove(made.secrets)
	instance := made.instance
	if err := instance.Close(); err != nil {
		c.log.Error("policy instance did not close", "policy", instance.Name(), "instance", instance.ID(), "error", err.Error())
	}
}

// closeAll closes every instance: no exchange is under way any more.
func (c *chains) closeAll() {
	for _, ref := range c.refs {
		ref.chain.Close()
	}
	for old := range c.replaced {
		old.chain.Close()
	}
	clear(c.replaced)
	for _, id := range slices.Sorted(maps.Keys(c.instances)) {
		c.closeInstance(c.instances[id].made)
	}
	clear(c.instances)
	clear(c.refs)
}
