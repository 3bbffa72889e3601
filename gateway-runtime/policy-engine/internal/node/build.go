package node

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// buildersAtOnce bounds the factories that run at the same time. Factories of Python policies mostly wait.
const buildersAtOnce = 1024

// builtInstance is a policy instance, with what its policy says of itself.
type builtInstance struct {
	instance *chain.Instance
	policy   v1alpha.Policy
	secrets  []string // that it holds
}

// readiness is what a policy may offer that can lose its readiness, and gain it again: nil while it is ready.
type readiness interface{ Standing() error }

// notReadyReason is why the instance cannot be executed now, or nil.
func (m *builtInstance) notReadyReason() error {
	if policy, ok := m.policy.(readiness); ok {
		return policy.Standing()
	}
	return nil
}

// build makes the instances that one bundle needs and that are not there, and resolves the names of its upstreams. Its
// results are there once it is done.
type build struct {
	message    *nodev1.ApiBundle
	bound      map[string]*boundAttachment // by the id that the controller has given it
	built      map[string]*builtInstance
	failures   map[string]error
	unresolved error
}

// instance is the id of the instance of an attachment, as the build has it.
func (b *build) instance(attachment *nodev1.Attachment) string {
	if bound := b.bound[attachment.GetInstance()]; bound != nil {
		return bound.instance
	}
	return attachment.GetInstance()
}

// startBuild builds what a bundle needs, in the background: a factory may take long, and others must not wait for it. done
// is called from another goroutine. The results are to be acquired or discarded. resolve is asked meanwhile.
func (c *chains) startBuild(message *nodev1.ApiBundle, resolve func() error, done func(*build)) *build {
	b := newBuild(message)
	wanted := c.missing(b)
	c.builds.Go(func() {
		var resolving sync.WaitGroup
		resolving.Go(func() { b.unresolved = resolve() })
		c.buildInstances(b, wanted)
		resolving.Wait()
		done(b)
	})
	return b
}

func newBuild(message *nodev1.ApiBundle) *build {
	return &build{message: message, bound: map[string]*boundAttachment{}, built: map[string]*builtInstance{}, failures: map[string]error{}}
}

func (c *chains) buildInstances(b *build, wanted map[string]*boundAttachment) {
	var mutex sync.Mutex
	var group sync.WaitGroup
	for id, attachment := range wanted {
		c.slots <- struct{}{}
		group.Go(func() {
			defer func() { <-c.slots }()
			made, err := c.buildInstance(b.message, attachment)
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil {
				b.failures[id] = err
			} else {
				b.built[id] = made
			}
		})
	}
	group.Wait()
}

// discard closes what was built and is not needed any more. It may be called from any goroutine.
func (c *chains) discard(b *build) {
	for _, made := range b.built {
		c.closeInstance(made)
	}
}

// missing binds the attachments of a build's chains that are not there, and returns those whose instances are not there,
// by the instances' ids. What cannot be bound is among the build's failures.
func (c *chains) missing(b *build) map[string]*boundAttachment {
	wanted := map[string]*boundAttachment{}
	for _, message := range b.message.GetChains() {
		if c.refs[message.GetId()] == nil {
			c.bind(b, message, wanted)
		}
	}
	return wanted
}

func (c *chains) bind(b *build, message *nodev1.Chain, wanted map[string]*boundAttachment) {
	for _, attachment := range message.GetAttachments() {
		if b.bound[attachment.GetInstance()] != nil {
			continue
		}
		bound, err := c.binder.bind(b.message.GetApi(), attachment)
		b.bound[attachment.GetInstance()] = bound
		switch {
		case err != nil:
			b.failures[bound.instance] = fmt.Errorf("policy %s:%s: %w", attachment.GetPolicyName(), attachment.GetPolicyVersion(), err)
		case c.instances[bound.instance] == nil:
			wanted[bound.instance] = bound
		}
	}
}

func (c *chains) buildInstance(bundle *nodev1.ApiBundle, attachment *boundAttachment) (*builtInstance, error) {
	policy, err := c.policies.Load().find(attachment.Attachment)
	if err != nil {
		return nil, err
	}
	settings, err := settingsOf(attachment.Attachment)
	if err != nil {
		return nil, err
	}
	if when := attachment.GetWhen(); when != "" {
		if settings.When, err = c.conditions.Compile(when); err != nil {
			return nil, fmt.Errorf("policy %s: when: %w", policy.ID(), err)
		}
	}
	built, err := runFactory(policy, v1alpha.Metadata{
		InstanceID: attachment.instance, PolicyName: policy.Name, PolicyVersion: policy.Version,
		APIName: bundle.GetApi(), APIVersion: bundle.GetVersion(),
		SystemParams: v1alpha.Params(attachment.systemParameters), MaxConcurrency: settings.MaxConcurrency,
		Operation: attachment.GetOperation(), PrepareTimeout: policy.PrepareTimeout,
		Timeout: cmp.Or(settings.Timeout, chain.DefaultTimeout), Conditions: c.conditions.ForPolicies(),
	}, v1alpha.Params(attachment.parameters))
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", policy.ID(), attachment.hideSecrets(err))
	}
	made := &builtInstance{chain.NewInstance(attachment.instance, policy.ID(), built, settings), built, attachment.secretTexts()}
	c.values.Add(made.secrets)
	return made, nil
}

// runFactory returns what a policy's factory says. Its errors may pass, for an author cannot tell a server that is away
// from a mistake for good; but not a panic, and not what has crashed executors: that would only crash them again, and
// all other policies in them.
func runFactory(policy Policy, metadata v1alpha.Metadata, params v1alpha.Params) (made v1alpha.Policy, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("its factory panicked: %v", cause)
		}
	}()
	made, err = policy.Factory(metadata, params)
	if err == nil && made == nil {
		return nil, errors.New("its factory returned neither a policy nor an error")
	}
	if err != nil && v1alpha.AsFailure(err).Class != v1alpha.ClassCrashed {
		err = transientError{err}
	}
	return made, err
}
