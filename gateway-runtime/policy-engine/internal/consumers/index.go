// Package consumers is a node's index of the controller's consumers and plans: policies find a consumer by its key, its JWT or its
// certificate. Consumers are data: a change reaches the next request, and no chain is built for it.
package consumers

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Shards are parts of the consumers, by their names: a node and its controller compare them, and each is a file.
const Shards = 1024

// Index is the consumers and plans that a node has. Its methods may be called from any goroutine.
type Index struct {
	mutex        sync.RWMutex
	shards       [Shards]shard
	keys         map[[sha256.Size]byte]key
	claims       map[claims]*v1alpha.Consumer
	certificates map[[sha256.Size]byte]*v1alpha.Consumer
	plans        map[string]*v1alpha.Plan
	plansBytes   []byte // Plans, serialized
	count        int
	files        *files
	log          *slog.Logger
	now          func() time.Time
}

// shard is the consumers of a shard by their names, and the XOR of their versions.
type shard struct {
	entries map[string]*entry
	version uint64
}

// entry is a consumer as it was received.
type entry struct {
	v1alpha.Consumer
	received []byte // nodev1.Consumer, serialized
}

type key struct {
	consumer *v1alpha.Consumer
	expires  int64 // seconds since 1970; 0: never
}

type claims struct{ issuer, subject string }

// Open makes the index of a state directory, with the consumers that it has. Damaged files are logged, and ignored.
func Open(stateDir string, log *slog.Logger) (*Index, error) {
	i := &Index{keys: map[[sha256.Size]byte]key{}, claims: map[claims]*v1alpha.Consumer{}, certificates: map[[sha256.Size]byte]*v1alpha.Consumer{},
		plans: map[string]*v1alpha.Plan{}, log: log, now: time.Now}
	files, err := openFiles(stateDir, i, log)
	if err != nil {
		return nil, err
	}
	for _, change := range files.read() {
		i.apply(change)
	}
	i.files = files
	return i, nil
}

// Close writes what is not on disk yet.
func (i *Index) Close() { i.files.close() }

// Apply takes a change of the controller's, which counts from the next request on. It is on disk a moment later.
func (i *Index) Apply(change *nodev1.ConsumerChange) {
	changed, plans := i.apply(change)
	i.files.write(changed, plans)
}

// Versions say what the index has.
func (i *Index) Versions() *nodev1.ConsumerVersions {
	i.mutex.RLock()
	defer i.mutex.RUnlock()
	versions := make([]byte, 0, 8*Shards)
	for n := range i.shards {
		versions = binary.BigEndian.AppendUint64(versions, i.shards[n].version)
	}
	if i.plansBytes == nil {
		return &nodev1.ConsumerVersions{Shards: versions}
	}
	digest := sha256.Sum256(i.plansBytes)
	return &nodev1.ConsumerVersions{Shards: versions, Plans: digest[:]}
}

// Len returns the number of consumers.
func (i *Index) Len() int {
	i.mutex.RLock()
	defer i.mutex.RUnlock()
	return i.count
}

// ByKey returns the consumer that has the key with this SHA-256; nil: none, or the key has expired.
func (i *Index) ByKey(digest [sha256.Size]byte) *v1alpha.Consumer {
	i.mutex.RLock()
	found := i.keys[digest]
	i.mutex.RUnlock()
	if found.expires != 0 && i.now().Unix() >= found.expires {
		return nil
	}
	return found.consumer
}

// ByClaims returns the consumer that a JWT is about, or else the consumer of all tokens of its issuer; nil: none.
func (i *Index) ByClaims(issuer, subject string) *v1alpha.Consumer {
	i.mutex.RLock()
	defer i.mutex.RUnlock()
	if found := i.claims[claims{issuer, subject}]; found != nil {
		return found
	}
	return i.claims[claims{issuer: issuer}]
}

// ByCertificate returns the consumer that has the certificate with this SHA-256; nil: none.
func (i *Index) ByCertificate(digest [sha256.Size]byte) *v1alpha.Consumer {
	i.mutex.RLock()
	defer i.mutex.RUnlock()
	return i.certificates[digest]
}

// Plan returns the plan of this name; nil: none. The same pointer is the same plan.
func (i *Index) Plan(name string) *v1alpha.Plan {
	i.mutex.RLock()
	defer i.mutex.RUnlock()
	return i.plans[name]
}

// apply returns the shards that have changed, and whether the plans have.
func (i *Index) apply(change *nodev1.ConsumerChange) (changed []int, plans bool) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	for _, received := range change.GetShards() {
		number := int(received.GetNumber()) % Shards
		for name := range i.shards[number].entries {
			i.remove(name)
		}
		for _, consumer := range received.GetConsumers() {
			i.put(consumer)
		}
		changed = append(changed, number)
	}
	for _, consumer := range change.GetConsumers() {
		if name := i.put(consumer); name != "" {
			changed = append(changed, shardOf(name))
		}
	}
	for _, name := range change.GetRemoved() {
		i.remove(name)
		changed = append(changed, shardOf(name))
	}
	if change.GetPlans() != nil && !bytes.Equal(change.GetPlans(), i.plansBytes) {
		plans = i.setPlans(change.GetPlans())
	}
	return changed, plans
}

// put replaces a consumer, and returns its name; "": it cannot be read.
func (i *Index) put(received []byte) string {
	message := &nodev1.Consumer{}
	if err := proto.Unmarshal(received, message); err != nil {
		i.log.Error("a consumer of the controller cannot be read, and is left out", "error", err.Error())
		return ""
	}
	name := message.GetName()
	i.remove(name)
	s := &i.shards[shardOf(name)]
	if s.entries == nil {
		s.entries = map[string]*entry{}
	}
	e := &entry{v1alpha.Consumer{Name: name, Plan: message.GetPlan(), Labels: message.GetLabels()}, received}
	s.entries[name] = e
	s.version ^= versionOf(received)
	i.count++
	for _, k := range message.GetKeys() {
		if digest, ok := digestOf(k.GetDigest()); ok {
			i.keys[digest] = key{&e.Consumer, k.GetExpires()}
		}
	}
	for _, c := range message.GetClaims() {
		i.claims[claims{c.GetIssuer(), c.GetSubject()}] = &e.Consumer
	}
	for _, certificate := range message.GetCertificates() {
		if digest, ok := digestOf(certificate); ok {
			i.certificates[digest] = &e.Consumer
		}
	}
	return name
}

// remove removes a consumer, if it is there, with what only it is known by.
func (i *Index) remove(name string) {
	s := &i.shards[shardOf(name)]
	e := s.entries[name]
	if e == nil {
		return
	}
	delete(s.entries, name)
	s.version ^= versionOf(e.received)
	i.count--
	message := &nodev1.Consumer{}
	if err := proto.Unmarshal(e.received, message); err != nil {
		return // put has read it
	}
	for _, k := range message.GetKeys() {
		if digest, ok := digestOf(k.GetDigest()); ok && i.keys[digest].consumer == &e.Consumer {
			delete(i.keys, digest)
		}
	}
	for _, c := range message.GetClaims() {
		if id := (claims{c.GetIssuer(), c.GetSubject()}); i.claims[id] == &e.Consumer {
			delete(i.claims, id)
		}
	}
	for _, certificate := range message.GetCertificates() {
		if digest, ok := digestOf(certificate); ok && i.certificates[digest] == &e.Consumer {
			delete(i.certificates, digest)
		}
	}
}

// setPlans replaces the plans, and reports whether they can be read. One that is as it was keeps its pointer.
func (i *Index) setPlans(received []byte) bool {
	message := &nodev1.Plans{}
	if err := proto.Unmarshal(received, message); err != nil {
		i.log.Error("the plans of the controller cannot be read; those before stay", "error", err.Error())
		return false
	}
	plans := map[string]*v1alpha.Plan{}
	for _, p := range message.GetPlans() {
		plan := &v1alpha.Plan{Name: p.GetName(), Limits: p.GetLimits(), Quotas: p.GetQuotas()}
		if old := i.plans[plan.Name]; old != nil && bytes.Equal(old.Limits, plan.Limits) && bytes.Equal(old.Quotas, plan.Quotas) {
			plan = old
		}
		plans[plan.Name] = plan
	}
	i.plans, i.plansBytes = plans, received
	return true
}

// shard returns the content of a shard, as a message.
func (i *Index) shard(number int) *nodev1.ConsumerShard {
	i.mutex.RLock()
	defer i.mutex.RUnlock()
	message := &nodev1.ConsumerShard{Number: uint32(number)} //nolint:gosec // below Shards
	for _, e := range i.shards[number].entries {
		message.Consumers = append(message.Consumers, e.received)
	}
	return message
}

func (i *Index) serializedPlans() []byte {
	i.mutex.RLock()
	defer i.mutex.RUnlock()
	return i.plansBytes
}

func shardOf(name string) int {
	digest := sha256.Sum256([]byte(name))
	return int(binary.BigEndian.Uint16(digest[:2])) >> 6
}

func versionOf(received []byte) uint64 {
	digest := sha256.Sum256(received)
	return binary.BigEndian.Uint64(digest[:8])
}

func digestOf(bytes []byte) (digest [sha256.Size]byte, ok bool) {
	return digest, copy(digest[:], bytes) == sha256.Size && len(bytes) == sha256.Size
}

var _ v1alpha.Consumers = (*Index)(nil)

func nameOf(number int) string { return fmt.Sprintf("%04d", number) }
