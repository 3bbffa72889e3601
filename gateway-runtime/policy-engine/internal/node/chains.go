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
	"gatewright.dev/sdk/policy/v1alpha"
)

// buildersAtOnce bounds the factories that run at the same time. Factories of Python policies mostly wait.
const buildersAtOnce = 1024

// chains owns the chains and instances of a node. A chain lives while a bundle holds it, and its grace after that; an
// instance while a chain does. Only the node's own goroutine calls it.
type chains struct {
	table     *chain.Table
	policies  *atomic.Pointer[policies]
	grace     time.Duration
	gone      func(departure) // called when a retired chain has left the table, from any goroutine
	log       *slog.Logger
	held      map[string]*heldChain
	instances map[string]*heldInstance
}

type heldChain struct {
	chain      *chain.Chain
	instances  []string
	bundles    int    // that hold it; 0 is retiring
	retirement uint64 // counts, so that a departure which was taken back is known
}

type heldInstance struct {
	instance *chain.Instance
	chains   int
}

// departure is the end of one retirement of one chain.
type departure struct {
	chain      string
	retirement uint64
}

// hold builds the chains of each bundle that are not there yet, puts them where exchanges find them, and holds them. It
// returns what is wrong, by API; such a bundle holds nothing.
func (c *chains) hold(bundles []*nodev1.ApiBundle) map[string]error {
	built, failures := c.buildInstances(bundles)
	errs := map[string]error{}
	for _, bundle := range bundles {
		if err := c.holdBundle(bundle, built, failures); err != nil {
			errs[bundle.GetApi()] = err
		}
	}
	for id, instance := range built {
		if c.instances[id] == nil {
			c.closeInstance(instance)
		}
	}
	return errs
}

func (c *chains) holdBundle(bundle *nodev1.ApiBundle, built map[string]*chain.Instance, failures map[string]error) error {
	fresh := map[string]*chain.Chain{}
	var wrong complaints
	for _, message := range bundle.GetChains() {
		if c.held[message.GetId()] != nil {
			continue
		}
		chain, errs := c.newChain(bundle, message, built, failures)
		wrong.add(message.GetOperation(), errs)
		fresh[message.GetId()] = chain
	}
	if err := wrong.err(); err != nil {
		return err
	}
	for _, message := range bundle.GetChains() {
		c.holdChain(message, fresh[message.GetId()], built)
	}
	return nil
}

func (c *chains) newChain(
	bundle *nodev1.ApiBundle, message *nodev1.Chain, built map[string]*chain.Instance, failures map[string]error,
) (*chain.Chain, []error) {
	var errs []error
	if err := checkMode(message); err != nil {
		errs = append(errs, err)
	}
	var instances []*chain.Instance
	for i, attachment := range message.GetAttachments() {
		instance := built[attachment.GetInstance()]
		if held := c.instances[attachment.GetInstance()]; held != nil {
			instance = held.instance
		}
		if err := failures[attachment.GetInstance()]; err != nil {
			errs = append(errs, fmt.Errorf("policies[%d]: %w", i, err))
		}
		instances = append(instances, instance)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	made, err := chain.New(chain.Spec{
		ID: message.GetId(), API: bundle.GetApi(), APIVersion: bundle.GetVersion(), Context: bundle.GetContext(),
		Operation: message.GetOperation(), Instances: instances,
	})
	if err != nil {
		return nil, []error{err}
	}
	return made, nil
}

func (c *chains) holdChain(message *nodev1.Chain, fresh *chain.Chain, built map[string]*chain.Instance) {
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

func (c *chains) holdInstance(id string, built map[string]*chain.Instance) {
	if c.instances[id] == nil {
		c.instances[id] = &heldInstance{instance: built[id]}
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
	for _, id := range held.instances {
		c.letInstanceGo(id)
	}
}

func (c *chains) letInstanceGo(id string) {
	held := c.instances[id]
	if held.chains--; held.chains == 0 {
		delete(c.instances, id)
		c.closeInstance(held.instance)
	}
}

func (c *chains) closeInstance(instance *chain.Instance) {
	if err := instance.Close(); err != nil {
		c.log.Error("policy instance did not close", "policy", instance.Name(), "instance", instance.ID(), "error", err.Error())
	}
}

// closeAll closes every instance: no exchange is under way any more.
func (c *chains) closeAll() {
	for _, id := range slices.Sorted(maps.Keys(c.instances)) {
		c.closeInstance(c.instances[id].instance)
	}
	clear(c.instances)
	clear(c.held)
}

// buildInstances builds the instances that the bundles need and nobody has, several at once.
func (c *chains) buildInstances(bundles []*nodev1.ApiBundle) (built map[string]*chain.Instance, failures map[string]error) {
	built, failures = map[string]*chain.Instance{}, map[string]error{}
	var mutex sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, buildersAtOnce)
	for id, wanted := range c.missing(bundles) {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			instance, err := c.buildInstance(wanted.bundle, wanted.attachment)
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil {
				failures[id] = err
			} else {
				built[id] = instance
			}
		})
	}
	group.Wait()
	return built, failures
}

type wantedInstance struct {
	bundle     *nodev1.ApiBundle
	attachment *nodev1.Attachment
}

func (c *chains) missing(bundles []*nodev1.ApiBundle) map[string]wantedInstance {
	wanted := map[string]wantedInstance{}
	for _, bundle := range bundles {
		for _, message := range bundle.GetChains() {
			for _, attachment := range message.GetAttachments() {
				if id := attachment.GetInstance(); c.instances[id] == nil {
					wanted[id] = wantedInstance{bundle, attachment}
				}
			}
		}
	}
	return wanted
}

func (c *chains) buildInstance(bundle *nodev1.ApiBundle, attachment *nodev1.Attachment) (instance *chain.Instance, err error) {
	policy, err := c.policies.Load().find(attachment)
	if err != nil {
		return nil, err
	}
	settings, err := settingsOf(attachment)
	if err != nil {
		return nil, err
	}
	made, err := runFactory(policy, v1alpha.Metadata{
		InstanceID: attachment.GetInstance(), PolicyName: policy.Name, PolicyVersion: policy.Version,
		APIName: bundle.GetApi(), APIVersion: bundle.GetVersion(),
		SystemParams: v1alpha.Params(attachment.GetSystemParameters()), MaxConcurrency: settings.MaxConcurrency,
		Operation: attachment.GetOperation(), PrepareTimeout: policy.PrepareTimeout,
	}, v1alpha.Params(attachment.GetParameters()))
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", policy.ID(), err)
	}
	return chain.NewInstance(attachment.GetInstance(), policy.ID(), made, settings), nil
}

// runFactory makes a factory's panic its error: one policy's mistake must not stop the engine.
func runFactory(policy Policy, metadata v1alpha.Metadata, params v1alpha.Params) (made v1alpha.Policy, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("its factory panicked: %v", cause)
		}
	}()
	made, err = policy.Factory(metadata, params)
	if err == nil && made == nil {
		err = errors.New("its factory returned neither a policy nor an error")
	}
	return made, err
}
