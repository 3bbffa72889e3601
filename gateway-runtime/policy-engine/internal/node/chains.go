package node

import (
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
)

// chains owns the chains and instances of a node. A chain lives while a bundle holds it, and its grace after that; an
// instance while a chain does. Only the node's own goroutine calls it, but for what says that it is called from another one.
type chains struct {
	table     *chain.Table
	bodies    *chain.Budget
	observer  chain.Observer // nil: nobody is told
	policies  *atomic.Pointer[policies]
	grace     time.Duration
	gone      func(departure) // called when a retired chain has left the table, from any goroutine
	log       *slog.Logger
	held      map[string]*heldChain
	instances map[string]*heldInstance
	slots     chan struct{}  // for factories that run
	builds    sync.WaitGroup // under way
}

func newChains(options Options, policies *atomic.Pointer[policies], grace time.Duration, gone func(departure)) *chains {
	return &chains{table: options.Table, bodies: options.Bodies, observer: options.Observer, policies: policies, grace: grace, gone: gone,
		log: options.Log, held: map[string]*heldChain{}, instances: map[string]*heldInstance{}, slots: make(chan struct{}, buildersAtOnce)}
}

type heldChain struct {
	chain      *chain.Chain
	instances  []string
	bundles    int    // that hold it; 0 is retiring
	retirement uint64 // counts, so that a departure which was taken back is known
}

type heldInstance struct {
	made   *made
	chains int
}

// departure is the end of one retirement of one chain.
type departure struct {
	chain      string
	retirement uint64
}

// errStale says that an instance which a build counted on has gone meanwhile.
var errStale = errors.New("an instance that was there when the build began has gone")

// hold makes chains of what was built for a bundle, puts them where exchanges find them, and holds them. After an error
// the bundle holds nothing; errStale asks for another build.
func (c *chains) hold(b *build) error {
	err := c.holdBundle(b)
	for id, made := range b.built {
		if held := c.instances[id]; held == nil || held.made != made {
			c.closeInstance(made.instance)
		}
	}
	return err
}

func (c *chains) holdBundle(b *build) error {
	if c.misses(b) {
		return errStale
	}
	fresh := map[string]*chain.Chain{}
	var wrong complaints
	for _, message := range b.message.GetChains() {
		if c.held[message.GetId()] != nil {
			continue
		}
		chain, errs := c.newChain(b, message)
		wrong.add(message.GetOperation(), errs)
		if chain != nil {
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
		c.holdChain(message, fresh[message.GetId()], b.built)
	}
	return nil
}

// misses reports whether an instance of the bundle is neither held, nor built, nor known to fail.
func (c *chains) misses(b *build) bool {
	for id := range c.missing(b.message) {
		if b.built[id] == nil && b.failures[id] == nil {
			return true
		}
	}
	return false
}

func (c *chains) newChain(b *build, message *nodev1.Chain) (*chain.Chain, []error) {
	var errs []error
	if err := checkMode(message); err != nil {
		errs = append(errs, err)
	}
	var instances []*chain.Instance
	for i, attachment := range message.GetAttachments() {
		id := attachment.GetInstance()
		switch held := c.instances[id]; {
		case held != nil:
			instances = append(instances, held.made.instance)
		case b.failures[id] != nil:
			errs = append(errs, fmt.Errorf("policies[%d]: %w", i, b.failures[id]))
		default:
			instances = append(instances, b.built[id].instance)
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	made, err := chain.New(chain.Spec{
		ID: message.GetId(), API: b.message.GetApi(), APIVersion: b.message.GetVersion(), Context: b.message.GetContext(),
		Operation: message.GetOperation(), Instances: instances, Bodies: c.bodies, Observer: c.observer,
	})
	if err != nil {
		return nil, []error{err}
	}
	return made, nil
}

func (c *chains) holdChain(message *nodev1.Chain, fresh *chain.Chain, built map[string]*made) {
	held := c.held[message.GetId()]
	if held == nil {
		held = &heldChain{chain: fresh}
		for _, attachment := range message.GetAttachments() {
			held.instances = append(held.instances, attachment.GetInstance())
			c.holdInstance(attachment.GetInstance(), built)
		}
		c.held[message.GetId()] = held
	}
	if held.bundles == 0 {
		c.table.Put(held.chain) // takes a retirement back
		held.retirement++
	}
	held.bundles++
}

func (c *chains) holdInstance(id string, built map[string]*made) {
	if c.instances[id] == nil {
		c.instances[id] = &heldInstance{made: built[id]}
	}
	c.instances[id].chains++
}

// release lets go of a bundle's chains. It returns the departures to come.
func (c *chains) release(bundle *nodev1.ApiBundle) []departure {
	var leaving []departure
	for _, message := range bundle.GetChains() {
		held := c.held[message.GetId()]
		if held.bundles--; held.bundles > 0 {
			continue
		}
		held.retirement++
		going := departure{message.GetId(), held.retirement}
		leaving = append(leaving, going)
		c.table.Retire(message.GetId(), c.grace, func() { c.gone(going) })
	}
	return leaving
}

// left takes in that a retired chain has left the table, and closes the instances that no chain needs any more.
func (c *chains) left(gone departure) {
	held := c.held[gone.chain]
	if held == nil || held.bundles > 0 || held.retirement != gone.retirement {
		return
	}
	delete(c.held, gone.chain)
	held.chain.Close()
	for _, id := range held.instances {
		c.letInstanceGo(id)
	}
}

func (c *chains) letInstanceGo(id string) {
	held := c.instances[id]
	if held.chains--; held.chains == 0 {
		delete(c.instances, id)
		c.closeInstance(held.made.instance)
	}
}

func (c *chains) closeInstance(instance *chain.Instance) {
	if err := instance.Close(); err != nil {
		c.log.Error("policy instance did not close", "policy", instance.Name(), "instance", instance.ID(), "error", err.Error())
	}
}

// closeAll closes every instance: no exchange is under way any more.
func (c *chains) closeAll() {
	for _, held := range c.held {
		held.chain.Close()
	}
	for _, id := range slices.Sorted(maps.Keys(c.instances)) {
		c.closeInstance(c.instances[id].made.instance)
	}
	clear(c.instances)
	clear(c.held)
}
