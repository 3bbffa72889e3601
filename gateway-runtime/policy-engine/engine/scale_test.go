package engine

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
	"gatewright.dev/sdk/policy/v1alpha"
)

// What many APIs cost an engine and its Envoy, in bulk and by one change more, is measured on request:
//
//	go test ./engine -run Scale -v -scale bundles.bin -scale-apis 10000
//
// The file has serialized bundles of the controller's, each behind its length in four bytes, the least significant one first.
var (
	scaleBundles  = flag.String("scale", "", "measure an engine with the bundles of this file")
	scaleAPIs     = flag.Int("scale-apis", 10, "how many of them")
	scaleChanges  = flag.Int("scale-changes", 30, "how many changes, one after the other")
	scaleProfiles = flag.String("scale-profiles", "", "folder for profiles of the engine")
)

// partBytes is how much the controller sends at once.
const partBytes = 2 << 20

// scaleLimit is the longest that one update may take.
const scaleLimit = 5 * time.Minute

func TestScale(t *testing.T) {
	if *scaleBundles == "" {
		t.Skip("it measures, if -scale names a file of bundles")
	}
	debug.SetGCPercent(usualPercent)
	go tuneGarbageCollector(t.Context(), chain.NewBudget(defaultBodies))
	directory := envoytest.Directory(t)
	file := openBundles(t, *scaleBundles)
	controller, address := startController(t, directory)
	startEngine(t, directory, scaleManifest(t, file.message(0)), func(r *Registry) {
		for _, attachment := range policiesOf(file.message(0)) {
			r.Register(attachment.GetPolicyName(), attachment.GetPolicyVersion(), func(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error) { return mark{}, nil })
		}
	}, withController(address))
	envoy := envoytest.Start(t, directory)
	envoy.Get("h", "/")
	m := &measurement{t: t, controller: controller, envoy: envoy.PID()}

	m.profile("bulk", func() { m.log("in bulk", m.applyAll(file)) })
	var costs []updateCost
	m.profile("changes", func() {
		for n := range *scaleChanges {
			message := file.message((n * 7919) % *scaleAPIs)
			renew(message, n)
			costs = append(costs, m.apply(&nodev1.Update{Revision: uint64(n + 2), Bundles: []*nodev1.ApiBundle{message}})) //nolint:gosec // small
		}
	})
	slices.SortFunc(costs, func(a, b updateCost) int { return int(a.wall - b.wall) })
	m.log("change, p50", costs[len(costs)/2])
	m.log("change, p95", costs[len(costs)*95/100])
	m.profileHeap()
	time.Sleep(burstTimeout + time.Second)
	m.log("idle", updateCost{})
}

// renew makes a message another version of its API, with chains and instances of its own.
func renew(message *nodev1.ApiBundle, n int) {
	message.Digest += strconv.Itoa(n)
	for _, chain := range message.GetChains() {
		before := chain.GetId()
		chain.Id = fmt.Sprintf("%08x", n) + before[8:]
		for r, route := range message.GetRoutes() {
			message.Routes[r] = []byte(strings.ReplaceAll(string(route), before, chain.GetId()))
		}
		for _, row := range message.GetOperations().GetRows() {
			row.Chain = strings.ReplaceAll(row.GetChain(), before, chain.GetId())
		}
		for _, attachment := range chain.GetAttachments() {
			attachment.Instance = fmt.Sprintf("%08x", n) + attachment.GetInstance()[8:]
		}
	}
	if table := message.GetOperations(); table != nil {
		before := table.GetId()
		table.Id = fmt.Sprintf("%08x", n) + before[8:]
		message.Routes[0] = []byte(strings.ReplaceAll(string(message.GetRoutes()[0]), before, table.Id))
	}
}

// updateCost is the time until an update is reported as applied, and the CPU of the processes; the engine's is that of the test's.
type updateCost struct{ wall, engine, envoy time.Duration }

type measurement struct {
	t          *testing.T
	controller *controller
	envoy      int // pid
}

func (m *measurement) apply(update *nodev1.Update) updateCost {
	m.t.Helper()
	last := update.GetBundles()[len(update.GetBundles())-1]
	begin, engine, envoy := time.Now(), m.cpu(os.Getpid()), m.cpu(m.envoy)
	m.controller.updates <- update
	for ; !m.isApplied(last); time.Sleep(time.Millisecond) {
		if time.Since(begin) > scaleLimit {
			m.t.Fatalf("%s was not applied within %s", last.GetApi(), scaleLimit)
		}
	}
	return updateCost{time.Since(begin), m.cpu(os.Getpid()) - engine, m.cpu(m.envoy) - envoy}
}

// applyAll sends all APIs as a controller does, in parts.
func (m *measurement) applyAll(file *bundleFile) updateCost {
	begin, engine, envoy := time.Now(), m.cpu(os.Getpid()), m.cpu(m.envoy)
	part, size := &nodev1.Update{Revision: 1}, uint32(0)
	for i := range *scaleAPIs - 1 {
		if size += file.size(i); size > partBytes {
			m.controller.updates <- part
			part, size = &nodev1.Update{Revision: 1}, file.size(i)
		}
		part.Bundles = append(part.Bundles, file.message(i))
	}
	part.Bundles = append(part.Bundles, file.message(*scaleAPIs-1))
	m.apply(part)
	return updateCost{time.Since(begin), m.cpu(os.Getpid()) - engine, m.cpu(m.envoy) - envoy}
}

func (m *measurement) isApplied(bundle *nodev1.ApiBundle) bool {
	m.controller.mutex.Lock()
	defer m.controller.mutex.Unlock()
	status := m.controller.states[bundle.GetApi()]
	return status.GetDigest() == bundle.GetDigest() && status.GetState() == nodev1.ApiStatus_STATE_APPLIED
}

func (m *measurement) log(what string, c updateCost) {
	m.t.Logf("%d APIs, %s: %s; CPU: engine %s, Envoy %s; RSS: engine %d MiB (at most %d; live heap %d), Envoy %d MiB (at most %d)", *scaleAPIs, what,
		c.wall.Round(time.Millisecond), c.engine, c.envoy, m.memory(os.Getpid(), "VmRSS"), m.memory(os.Getpid(), "VmHWM"), readBytes("/gc/heap/live:bytes")>>20,
		m.memory(m.envoy, "VmRSS"), m.memory(m.envoy, "VmHWM"))
}

// cpu returns what a process has computed so far, in steps of 10 ms: proc(5), /proc/[pid]/stat.
func (m *measurement) cpu(pid int) time.Duration {
	text := m.read(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	user, userErr := strconv.Atoi(fields[11])
	system, systemErr := strconv.Atoi(fields[12])
	if userErr != nil || systemErr != nil {
		m.t.Fatalf("%v, %v", userErr, systemErr)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memory returns MiB of a process, by the name of a line of /proc/[pid]/status.
func (m *measurement) memory(pid int, name string) int {
	_, line, _ := strings.Cut(m.read(fmt.Sprintf("/proc/%d/status", pid)), name+":")
	kilobytes, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil {
		m.t.Fatal(err)
	}
	return kilobytes >> 10
}

func (m *measurement) read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

func (m *measurement) profile(name string, measured func()) {
	if *scaleProfiles == "" {
		measured()
		return
	}
	file, err := os.Create(*scaleProfiles + "/" + name)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := pprof.StartCPUProfile(file); err != nil {
		m.t.Fatal(err)
	}
	defer pprof.StopCPUProfile()
	measured()
}

func (m *measurement) profileHeap() {
	if *scaleProfiles == "" {
		return
	}
	file, err := os.Create(*scaleProfiles + "/heap")
	if err == nil {
		err = pprof.WriteHeapProfile(file)
		_ = file.Close()
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// bundleFile is a file of bundles, which are read when they are needed: the test's process is also the engine's.
type bundleFile struct {
	t      *testing.T
	file   *os.File
	starts []int64 // of the bundles' lengths
}

func openBundles(t *testing.T, path string) *bundleFile {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	opened := &bundleFile{t: t, file: file}
	for at := int64(0); at < info.Size(); at += 4 + int64(opened.length(at)) {
		opened.starts = append(opened.starts, at)
	}
	return opened
}

func (f *bundleFile) length(at int64) uint32 { return binary.LittleEndian.Uint32(f.read(at, 4)) }

func (f *bundleFile) read(at int64, size uint32) []byte {
	f.t.Helper()
	text := make([]byte, size)
	if _, err := f.file.ReadAt(text, at); err != nil {
		f.t.Fatal(err)
	}
	return text
}

func (f *bundleFile) size(i int) uint32 { return f.length(f.starts[i]) }

func (f *bundleFile) message(i int) *nodev1.ApiBundle {
	f.t.Helper()
	at, message := f.starts[i], &nodev1.ApiBundle{}
	if err := proto.Unmarshal(f.read(at+4, f.length(at)), message); err != nil {
		f.t.Fatal(err)
	}
	return message
}

// policiesOf returns an attachment of each policy of a bundle's first chain.
func policiesOf(bundle *nodev1.ApiBundle) map[string]*nodev1.Attachment {
	policies := map[string]*nodev1.Attachment{}
	for _, attachment := range bundle.GetChains()[0].GetAttachments() {
		policies[attachment.GetPolicyName()+":"+attachment.GetPolicyVersion()] = attachment
	}
	return policies
}

// scaleManifest is that of a build with the policies of a bundle's first chain.
func scaleManifest(t *testing.T, bundle *nodev1.ApiBundle) string {
	t.Helper()
	type object map[string]any
	var policies []object
	for _, attachment := range policiesOf(bundle) {
		definition := object{"name": attachment.GetPolicyName(), "version": attachment.GetPolicyVersion(), "runtime": "go",
			"processingMode": object{"requestHeaderMode": "PROCESS", "responseHeaderMode": "PROCESS"}}
		policies = append(policies, object{"name": attachment.GetPolicyName(), "version": attachment.GetPolicyVersion(), "runtime": "go",
			"definitionDigest": attachment.GetDefinitionDigest(), "definition": definition})
	}
	text, err := json.Marshal(object{"version": 1, "policies": policies})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
