package queue

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/secrets"
	"gatewright.dev/policy-engine/internal/xds"
)

// Entry is the newest bundle of an API.
type Entry[B comparable] struct {
	Message  *nodev1.ApiBundle // without a digest: the API is to be removed; once it is built, its outline
	Bundle   *xds.Bundle       // once the message is parsed
	Revision uint64            // of the update that brought it

	fallback *xds.Bundle    // answers requests to its context that no running version covers; nil if its context cannot be read
	secrets  []secrets.Ref  // the secrets that it names
	build    B              // under way
	renewed  bool           // what builds depend on has changed since the build began
	next     *nodev1.Update // to be applied once it is done
	nextBy   time.Time      // or at this time
	tries    int            // failed tries
	retryAt  time.Time      // zero: no retry until the API or the policies change
	state    nodev1.ApiStatus_State
	reason   string // why it was rejected, as reported

	whole func() (*nodev1.ApiBundle, error) // reads the whole message, while Message is its outline; otherwise nil

	unresolved string // if the reason is an upstream name that does not resolve: that name
}

// Pack replaces the message by its outline, its names and places, once it is built. whole reads the message, if it is to be built
// again.
func (e *Entry[B]) Pack(whole func() (*nodev1.ApiBundle, error)) {
	e.Message = &nodev1.ApiBundle{Api: e.Message.GetApi(), Digest: e.Message.GetDigest(), Context: e.Message.GetContext(),
		Hosts: e.Message.GetHosts(), Listeners: e.Message.GetListeners(), AttachedTo: e.Message.GetAttachedTo()}
	e.whole = whole
}

// Unpack undoes Pack, so that the message can be built again.
func (e *Entry[B]) Unpack() error {
	if e.whole == nil {
		return nil
	}
	message, err := e.whole()
	if err == nil {
		e.Message, e.whole = message, nil
	}
	return err
}

// Begin notes that a build is under way.
func (e *Entry[B]) Begin(build B) { e.build, e.renewed = build, false }

// Building reports whether a build is under way.
func (e *Entry[B]) Building() bool {
	var none B
	return e.build != none
}

// End notes that a build is done. It returns false if the entry does not wait for this build: a newer bundle has come.
func (e *Entry[B]) End(build B) bool {
	if e.build != build {
		return false
	}
	var none B
	e.build = none
	return true
}

// Renewed reports whether what builds depend on has changed since the last build began.
func (e *Entry[B]) Renewed() bool { return e.renewed }

// DrainNext returns the update that has waited for the build of the last good version, once; nil: none.
func (e *Entry[B]) DrainNext() *nodev1.Update {
	next := e.next
	e.next = nil
	return next
}

// State returns whether the API is pending or rejected, as it was reported last.
func (e *Entry[B]) State() nodev1.ApiStatus_State { return e.state }

// Reason returns why, as it was reported last.
func (e *Entry[B]) Reason() string { return e.reason }

// waits reports whether the entry waits for its retry.
func (e *Entry[B]) waits() bool { return !e.Building() && !e.retryAt.IsZero() }

// Obstacle is the reason why the newest version of an API does not run.
type Obstacle struct {
	Reason     string // "": it runs, or is being built
	Unresolved string // if the reason is an upstream name that does not resolve: that name
}

// Obstacle returns why the entry does not run.
func (e *Entry[B]) Obstacle() Obstacle {
	return Obstacle{e.Message.GetUnserved() + e.reason, cmp.Or(e.unresolved, e.Message.GetUnresolved())}
}

// UnresolvedError reports that the name of an upstream does not resolve.
type UnresolvedError struct {
	Name  string
	Cause error
}

func (e UnresolvedError) Error() string {
	return fmt.Sprintf("upstream: the name %s does not resolve: %v", e.Name, e.Cause)
}

func (e UnresolvedError) Unwrap() error { return e.Cause }

// unresolvedName returns the upstream name whose failed resolution caused err; "": another cause.
func unresolvedName(err error) string {
	if unresolved, ok := errors.AsType[UnresolvedError](err); ok {
		return unresolved.Name
	}
	return ""
}
