package node

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/sdk/policy/v1alpha"
)

// buildersAtOnce bounds the factories that run at the same time. Factories of Python policies mostly wait.
const buildersAtOnce = 1024

// builtInstance is a policy instance and the policy value that its factory returned.
type builtInstance struct {
	instance *chain.Instance
	policy   v1alpha.Policy
	secrets  []string // the values of its secrets
}

// readiness is implemented by policies that can lose their readiness, and regain it. Standing returns nil while it is ready.
type readiness interface{ Standing() error }

// notReadyReason returns why the instance cannot be executed now, or nil.
func (m *builtInstance) notReadyReason() error {
	if policy, ok := m.policy.(readiness); ok {
		return policy.Standing()
	}
	return nil
}

// build makes the missing instances of one bundle, and resolves the names of its upstreams. Its results are valid once it
// is done.
type build struct {
	message    *nodev1.ApiBundle
	kept       *statedir.Bundle // the message, to be kept; nil, with the reason in unkept: it cannot be
	unkept     error
	bound      map[string]*boundAttachment // by the instance id that the controller assigned
	built      map[string]*builtInstance
	failures   map[string]error
	unresolved error
	refs       []*chainRef          // the acquired chains
	paths      []chain.UpstreamPath // the rules of the chain that was made last
	operations *operations.Table    // of the route that operations share; nil: they have routes of their own
	attachedTo []string             // names of routes of other Envoys that lead to it; none: the route is the node's own
}

// instance returns the id of an attachment's instance in this build.
func (b *build) instance(attachment *nodev1.Attachment) string {
	if bound := b.bound[attachment.GetInstance()]; bound != nil {
		return bound.instance
	}
	return attachment.GetInstance()
}

// startBuild builds the missing instances of a bundle in the background, since a factory may take long. It calls done from
// another goroutine; the caller then acquires or discards the results. resolve runs at the same time.
func (c *chains) startBuild(message *nodev1.ApiBundle, kept *statedir.Bundle, resolve func() error, done func(*build)) *build {
	b := newBuild(message)
	b.kept = kept
	missing := c.missing(b)
	c.builds.Go(func() {
		var resolving sync.WaitGroup
		resolving.Go(func() { b.unresolved = resolve() })
		if b.kept == nil {
			b.kept, b.unkept = statedir.Pack(message)
		}
		c.buildInstances(b, missing)
		resolving.Wait()
		done(b)
	})
	return b
}

func newBuild(message *nodev1.ApiBundle) *build {
	return &build{message: message, bound: map[string]*boundAttachment{}, built: map[string]*builtInstance{}, failures: map[string]error{}}
}

func (c *chains) buildInstances(b *build, attachments map[string]*boundAttachment) {
	var mutex sync.Mutex
	var group sync.WaitGroup
	for id, attachment := range attachments {
		c.slots <- struct{}{}
		group.Go(func() {
			defer func() { <-c.slots }()
			instance, err := c.buildInstance(b.message, attachment)
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil {
				b.failures[id] = err
			} else {
				b.built[id] = instance
			}
		})
	}
	group.Wait()
}

// discard closes the instances of a build that is not needed any more. It may be called from any goroutine.
func (c *chains) discard(b *build) {
	for _, instance := range b.built {
		c.closeInstance(instance)
	}
}

// missing binds the attachments of a build's new chains, and returns those whose instances do not exist yet, by instance id.
// An attachment that cannot be bound is added to the build's failures.
func (c *chains) missing(b *build) map[string]*boundAttachment {
	missing := map[string]*boundAttachment{}
	for _, message := range b.message.GetChains() {
		if c.refs[message.GetId()] == nil {
			c.bind(b, message, missing)
		}
	}
	return missing
}

func (c *chains) bind(b *build, message *nodev1.Chain, missing map[string]*boundAttachment) {
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
			missing[bound.instance] = bound
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
	policyInstance, err := runFactory(policy, v1alpha.Metadata{
		InstanceID: attachment.instance, PolicyName: policy.Name, PolicyVersion: policy.Version,
		APIName: bundle.GetApi(), APIVersion: bundle.GetVersion(),
		SystemParams: v1alpha.Params(attachment.systemParameters), MaxConcurrency: settings.MaxConcurrency,
		Operation: attachment.GetOperation(), PrepareTimeout: policy.PrepareTimeout,
		Timeout: cmp.Or(settings.Timeout, chain.DefaultTimeout), Conditions: c.conditions.ForPolicies(),
	}, v1alpha.Params(attachment.parameters))
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", policy.ID(), attachment.hideSecrets(err))
	}
	built := &builtInstance{chain.NewInstance(attachment.instance, policy.ID(), policyInstance, settings), policyInstance, attachment.secretTexts()}
	c.values.Add(built.secrets)
	return built, nil
}

// runFactory calls a policy's factory. Its errors are transient, since an author cannot distinguish a server that is away
// from a permanent mistake. A panic is permanent, and so is a factory that has crashed executors: another try would only
// crash them again, and with them all other policies of the process.
func runFactory(policy Policy, metadata v1alpha.Metadata, params v1alpha.Params) (built v1alpha.Policy, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("its factory panicked: %v", cause)
		}
	}()
	built, err = policy.Factory(metadata, params)
	if err == nil && built == nil {
		return nil, errors.New("its factory returned neither a policy nor an error")
	}
	if err != nil && v1alpha.AsFailure(err).Class != v1alpha.ClassCrashed {
		err = transient.Mark(err)
	}
	return built, err
}
