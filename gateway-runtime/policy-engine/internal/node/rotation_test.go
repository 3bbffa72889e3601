package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/xds/bundletest"
	"gatewright.dev/sdk/policy/v1alpha"
)

// keyed is a policy for tests with a secret. It records the existing instances by their secrets.
type keyed struct {
	mutex sync.Mutex
	open  map[string]int
	fail  map[string]bool // secrets that it refuses
	ids   map[string]bool // of all instances that there have been
}

type keyedInstance struct {
	of  *keyed
	key string
}

func (keyedInstance) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return nil, nil
}

func (keyedInstance) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

func (i keyedInstance) Close() error {
	i.of.mutex.Lock()
	defer i.of.mutex.Unlock()
	if i.of.open[i.key]--; i.of.open[i.key] == 0 {
		delete(i.of.open, i.key)
	}
	return nil
}

func (k *keyed) policies() []Policy {
	return []Policy{{Name: "tag", Version: "v1.0.0", DefinitionDigest: "digest", Mode: headersOnly,
		Factory: func(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
			var parsed struct {
				Key struct{ SecretRef, Value string }
			}
			if err := params.Decode(&parsed); err != nil {
				return nil, err
			}
			k.mutex.Lock()
			defer k.mutex.Unlock()
			if k.fail[parsed.Key.Value] {
				return nil, errors.New("cannot use the key " + parsed.Key.Value)
			}
			k.ids[metadata.InstanceID] = true
			k.open[parsed.Key.Value]++
			return keyedInstance{k, parsed.Key.Value}, nil
		}}}
}

func (k *keyed) keys() []string {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	var all []string
	for key, count := range k.open {
		all = append(all, fmt.Sprintf("%s×%d", key, count))
	}
	slices.Sort(all)
	return all
}

const naming = `{"key":{"secretRef":"upstream-key"}}`

// naming returns a bundle whose policy uses the secret upstream-key.
func namingBundle(api, digest string) *nodev1.ApiBundle {
	return bundleWith(api, digest, attachment(api+"-one", naming))
}

type secretBench struct {
	*bench
	keyed  *keyed
	folder string
	state  string
}

func newSecretBench(t *testing.T, files map[string]string) *secretBench {
	t.Helper()
	b := &secretBench{keyed: &keyed{open: map[string]int{}, fail: map[string]bool{}, ids: map[string]bool{}}, folder: t.TempDir(), state: t.TempDir()}
	for name, content := range files {
		b.write(t, name, content)
	}
	b.bench = newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, secrets: b.folder, policies: b.keyed.policies()}, b.state)
	return b
}

func (b *secretBench) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(b.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (b *secretBench) become(keys ...string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("instances with %q", keys), func() bool { return slices.Equal(b.keyed.keys(), keys) })
}

// shows returns a text with secrets as recordings show it.
func (b *secretBench) shows(want string) {
	b.t.Helper()
	b.eventually("shown is "+want, func() bool {
		shown, _ := b.node.options.Values.Text("first-value, second-value, third-value")
		return shown == want
	})
}

func TestAPolicyThatMovesIsBuiltAgainAndTheOldInstanceEndsWithItsLastExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, map[string]string{"upstream-key": "first-value\n"})
		equal(t, "report", b.apply(1, some(namingBundle("a", "1"), bundleWith("b", "1", attachment("b-one", `{"key":{"value":"plain"}}`)))), "1 a 1 APPLIED", "1 b 1 APPLIED")
		b.envoy.drainTranscript()
		held, ok := b.table.Acquire(chainID("b1"))
		if !ok {
			t.Fatal("expected a chain")
		}
		b.run()
		moved := b.keyed.policies()
		moved[0].Moves = 1
		b.node.SetPolicies(moved)
		b.become("first-value×2", "plain×2") // until the grace of the chains that were is over
		time.Sleep(time.Minute)
		b.become("first-value×1", "plain×2") // an exchange still uses b's old instance
		held.Release()
		b.become("first-value×1", "plain×1")
		if transcript := b.envoy.drainTranscript(); len(transcript) != 0 {
			t.Errorf("expected no update of Envoy, got %q", transcript)
		}
		b.node.SetPolicies(moved) // it has not moved again
		b.eventually("the node knows", func() bool { return len(b.node.renewed) == 0 })
		equal(t, "instances", b.keyed.keys(), "first-value×1", "plain×1")
	})
}

func TestASecretThatChangesMakesANewInstanceAndTheOldOneEndsWithItsLastExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, map[string]string{"upstream-key": "first-value\n"})
		equal(t, "report", b.apply(1, some(namingBundle("a", "1"))), "1 a 1 APPLIED")
		equal(t, "instances", b.keyed.keys(), "first-value×1")
		b.envoy.drainTranscript()
		held, ok := b.table.Acquire(chainID("a1"))
		if !ok {
			t.Fatal("no chain")
		}
		b.run()
		b.write(t, "upstream-key", "second-value")
		b.become("first-value×1", "second-value×1")
		b.eventually("new exchanges find the new chain", func() bool {
			now, ok := b.table.Acquire(chainID("a1"))
			if !ok {
				t.Fatal("no chain")
			}
			defer now.Release()
			return now != held
		})
		time.Sleep(3 * grace)
		equal(t, "instances while an exchange is in the old one", b.keyed.keys(), "first-value×1", "second-value×1")
		b.shows("[redacted], [redacted], third-value")
		held.Release()
		b.become("second-value×1")
		b.shows("first-value, [redacted], third-value")
		b.write(t, "upstream-key", "third-value")
		b.become("third-value×1")
		if transcript := b.envoy.drainTranscript(); len(transcript) > 0 {
			t.Errorf("expected no update of Envoy, got %q", transcript)
		}
		b.keyed.mutex.Lock()
		ids := len(b.keyed.ids)
		b.keyed.mutex.Unlock()
		if ids != 3 {
			t.Errorf("expected an id for each value, got %d", ids)
		}
		b.nothingOnDisk(t, "first-value", "second-value", "third-value")
	})
}

// sendingResponseHeaders is a route that sends them, as failover needs it.
func sendingResponseHeaders(t *testing.T, text []byte) []byte {
	t.Helper()
	route := &routev3.Route{}
	if err := proto.Unmarshal(text, route); err != nil {
		t.Fatal(err)
	}
	route.TypedPerFilterConfig["envoy.filters.http.ext_proc"] = sendsHeaders(filterv3.ProcessingMode_SEND)
	return wire(route)
}

// Each field of a chain's spec comes from the bundle or from the node. One that is lost, such as the strictness of paths, makes
// another chain.
func TestAChainThatIsBuiltAgainHasAllThatTheFirstHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, map[string]string{"upstream-key": "first-value\n"})
		made := b.node.chains
		made.bodies, made.limit, made.observer = chain.NewBudget(1<<20), time.Minute, exchange.NewCounters(quiet)
		made.shadows = chain.NewShadows(1, made.bodies)
		message := namingBundle("a", "1")
		message.StrictPaths, message.FirstRoute = true, bundletest.StrictFirstRoute("a")
		message.Chains[0].EncodedResponses, message.Chains[0].Failover, message.Chains[0].Upstreams = true, true, []string{"main"}
		message.Routes[0] = sendingResponseHeaders(t, message.Routes[0])
		message.Chains[0].UpstreamPaths = []*nodev1.UpstreamPath{{Upstream: "main", Base: "/base", Pattern: "^/a", Substitution: "/"}}
		b.apply(1, some(message))
		first := b.specOf(chainID("a1"))
		for field, text := range first {
			if text == "" {
				t.Errorf("expected the test to set %s, so that it is compared", field)
			}
		}
		b.run()
		b.write(t, "upstream-key", "second-value")
		b.become("second-value×1")
		if again := b.specOf(chainID("a1")); !maps.Equal(again, first) {
			t.Errorf("expected a chain of %v, got one of %v", first, again)
		}
	})
}

// specOf returns the fields of a running chain's spec as texts, pointers as addresses, without its instances; "": it is not set.
func (b *secretBench) specOf(id string) map[string]string {
	b.t.Helper()
	now, ok := b.table.Acquire(id)
	if !ok {
		b.t.Fatal("no chain")
	}
	defer now.Release()
	spec, texts := reflect.ValueOf(now).Elem().FieldByName("spec"), map[string]string{}
	for field := range spec.Type().Fields() {
		value := spec.FieldByIndex(field.Index)
		if value.Kind() == reflect.Interface {
			value = value.Elem()
		}
		switch {
		case field.Name == "Instances":
		case value.IsZero():
			texts[field.Name] = ""
		case value.Kind() == reflect.Pointer:
			texts[field.Name] = fmt.Sprintf("%#x", value.Pointer())
		default:
			texts[field.Name] = fmt.Sprint(value)
		}
	}
	return texts
}

func (b *secretBench) nothingOnDisk(t *testing.T, values ...string) {
	t.Helper()
	files, err := os.ReadDir(b.state)
	if err != nil || len(files) == 0 {
		t.Fatalf("expected files of state: %v %v", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(b.state, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range values {
			if bytes.Contains(content, []byte(value)) {
				t.Errorf("%s has %s", file.Name(), value)
			}
		}
	}
}

func TestASecretThatIsMissingKeepsItsAPIPendingUntilItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, nil)
		equal(t, "report", b.apply(1, some(namingBundle("a", "1"), bundle("b", "1"))), "1 a 1 PENDING", "1 b 1 APPLIED")
		for _, expected := range []string{"secret upstream-key: expected a file", filepath.Join(b.folder, "a", "upstream-key"), filepath.Join(b.folder, "upstream-key"), "put it there"} {
			if reason := b.node.queue.Get("a").Reason(); !strings.Contains(reason, expected) {
				t.Errorf("expected %q in %q", expected, reason)
			}
		}
		if stats := b.node.Stats().Secrets; stats != (SecretStats{InUse: 1, FailingFiles: 1}) {
			t.Errorf("stats %+v", stats)
		}
		b.run()
		b.write(t, "upstream-key", "value")
		b.become("value×1", "×1")
		b.eventually("no file fails", func() bool { return b.node.Stats().Secrets == SecretStats{InUse: 1} })
	})
}

func TestAnAPIsOwnSecretGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, map[string]string{"upstream-key": "of-all", "a/upstream-key": "of-a"})
		b.apply(1, some(namingBundle("a", "1"), namingBundle("b", "1")))
		equal(t, "instances", b.keyed.keys(), "of-all×1", "of-a×1")
		b.run()
		b.write(t, "b/upstream-key", "of-b")
		b.become("of-a×1", "of-b×1")
		if err := os.Remove(filepath.Join(b.folder, "a", "upstream-key")); err != nil {
			t.Fatal(err)
		}
		b.become("of-all×1", "of-b×1")
	})
}

func TestAMissingOrRefusedSecretLeavesThePreviousOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, map[string]string{"upstream-key": "first-value"})
		b.keyed.fail["refused-value"] = true
		b.apply(1, some(namingBundle("a", "1")))
		b.run()
		if err := os.Remove(filepath.Join(b.folder, "upstream-key")); err != nil {
			t.Fatal(err)
		}
		b.eventually("the file's failure is counted", func() bool { return b.node.Stats().Secrets.FailingFiles == 1 })
		b.write(t, "upstream-key", "refused-value")
		b.eventually("the refusal is counted", func() bool { return b.node.Stats().Secrets == SecretStats{InUse: 1, FailingAPIs: 1} })
		equal(t, "instances", b.keyed.keys(), "first-value×1")
		b.write(t, "upstream-key", "good-value")
		b.become("good-value×1")
		b.eventually("nothing fails", func() bool { return b.node.Stats().Secrets == SecretStats{InUse: 1} })
	})
}

func TestSecretsInErrorsOfPoliciesAreHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, map[string]string{"upstream-key": "refused-value"})
		b.keyed.fail["refused-value"] = true
		equal(t, "report", b.apply(1, some(namingBundle("a", "1"))), "1 a 1 PENDING")
		if reason := b.node.queue.Get("a").Reason(); !strings.Contains(reason, "cannot use the key [secret]") {
			t.Errorf("got %q", reason)
		}
		b.run() // so that it is closed
	})
}

func TestOneInstanceOfSeveralChainsIsRotatedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, map[string]string{"upstream-key": "first-value"})
		made, other := namingBundle("a", "1"), namingBundle("a", "2")
		made.Chains, made.Routes = append(made.Chains, other.Chains...), append(made.Routes, other.Routes...)
		made.Clusters = append(made.Clusters, other.Clusters...)
		b.apply(1, some(made))
		equal(t, "instances", b.keyed.keys(), "first-value×1")
		b.run()
		b.write(t, "upstream-key", "second-value")
		b.become("second-value×1")
		b.node.inbox.Add(&nodev1.Update{Revision: 2, RemovedApis: []string{"a"}})
		b.become()
		b.shows("first-value, second-value, third-value")
		b.eventually("its secret is forgotten", func() bool { return b.node.Stats().Secrets == SecretStats{} })
	})
}
