package controller

import (
	"maps"
	"slices"
	"sync"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/statedir"
)

// Outbox holds messages for the controller until a stream sends them. Its methods may be called from any goroutine.
type Outbox struct {
	mutex    sync.Mutex
	messages []*nodev1.NodeMessage
	filled   chan struct{}
}

// NewOutbox makes an empty outbox.
func NewOutbox() *Outbox { return &Outbox{filled: make(chan struct{}, 1)} }

// AddReport adds a report.
func (o *Outbox) AddReport(report *nodev1.Report) {
	o.add(&nodev1.NodeMessage{Message: &nodev1.NodeMessage_Report{Report: report}})
}

// AddHello adds a hello, for a node that has changed while the stream goes on.
func (o *Outbox) AddHello(hello *nodev1.Hello) {
	o.add(&nodev1.NodeMessage{Message: &nodev1.NodeMessage_Hello{Hello: hello}})
}

func (o *Outbox) add(message *nodev1.NodeMessage) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.messages = append(o.messages, message)
	notify(o.filled)
}

// Drain empties the outbox and returns what was in it.
func (o *Outbox) Drain() []*nodev1.NodeMessage {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	messages := o.messages
	o.messages = nil
	return messages
}

// PackedUpdate is an update whose bundles are packed: those of thousands of APIs, decoded, take as much memory as what is built of
// them.
type PackedUpdate struct {
	Update  *nodev1.Update // all but the bundles
	Bundles []*statedir.Bundle
}

// Pack packs an update, and takes its bundles out of it.
func Pack(update *nodev1.Update) *PackedUpdate {
	packed := &PackedUpdate{Update: update, Bundles: make([]*statedir.Bundle, 0, len(update.GetBundles()))}
	for _, message := range update.GetBundles() {
		bundle, err := statedir.Pack(message)
		if err != nil {
			bundle = statedir.Broken(message, err)
		}
		packed.Bundles = append(packed.Bundles, bundle)
	}
	update.Bundles = nil
	return packed
}

// Inbox holds the updates that are to be applied next, merged into one. Its methods may be called from any goroutine.
type Inbox struct {
	mutex   sync.Mutex
	update  *PackedUpdate
	arrived chan struct{}
}

// NewInbox makes an empty inbox.
func NewInbox() *Inbox { return &Inbox{arrived: make(chan struct{}, 1)} }

// Arrived receives a value after an update was added.
func (i *Inbox) Arrived() <-chan struct{} { return i.arrived }

// Add puts an update behind those that have arrived before, and takes its bundles out of it.
func (i *Inbox) Add(update *nodev1.Update) {
	packed := Pack(update)
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.update = merge(i.update, packed)
	notify(i.arrived)
}

// Requeue puts an update before those that have arrived since, and takes its bundles out of it.
func (i *Inbox) Requeue(update *nodev1.Update) {
	packed := Pack(update)
	i.mutex.Lock()
	defer i.mutex.Unlock()
	if i.update != nil {
		packed = merge(packed, i.update)
	}
	i.update = packed
	notify(i.arrived)
}

// Drain empties the inbox and returns what was in it; nil: nothing.
func (i *Inbox) Drain() *PackedUpdate {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	update := i.update
	i.update = nil
	return update
}

// HasUpdate reports whether there is something in it.
func (i *Inbox) HasUpdate() bool {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	return i.update != nil
}

func notify(channel chan<- struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// merge combines an update that is not being applied yet with a newer one. For each API the newer bundle or removal
// counts, and so does the newer Gateway, and for each Secret the newer values.
func merge(queued, newer *PackedUpdate) *PackedUpdate {
	if queued == nil {
		return newer
	}
	bundles, removed, secrets := map[string]*statedir.Bundle{}, map[string]bool{}, map[string]*nodev1.SecretValues{}
	for _, packed := range []*PackedUpdate{queued, newer} {
		for _, api := range packed.Update.GetRemovedApis() {
			removed[api] = true
			delete(bundles, api)
		}
		for _, bundle := range packed.Bundles {
			bundles[bundle.API] = bundle
			delete(removed, bundle.API)
		}
		for _, secret := range packed.Update.GetSecrets() {
			secrets[secret.GetName()] = secret
		}
	}
	update := &nodev1.Update{Revision: newer.Update.GetRevision(), RemovedApis: slices.Sorted(maps.Keys(removed)), Gateway: newer.Update.GetGateway()}
	if update.Gateway == nil {
		update.Gateway = queued.Update.GetGateway()
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		update.Secrets = append(update.Secrets, secrets[name])
	}
	merged := &PackedUpdate{Update: update}
	for _, api := range slices.Sorted(maps.Keys(bundles)) {
		merged.Bundles = append(merged.Bundles, bundles[api])
	}
	return merged
}
