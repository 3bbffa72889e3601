package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/consumers"
	"gatewright.dev/policy-engine/internal/node/controller/controllertest"
	"gatewright.dev/policy-engine/internal/node/signedstate/signedstatetest"
	"gatewright.dev/policy-engine/internal/node/statedir"
)

// exported is a file with a state of revision 5, with the APIs a and b, made an hour ago.
type exported struct {
	t    *testing.T
	file string
	key  *signedstatetest.Key
}

func export(t *testing.T) *exported {
	t.Helper()
	folder := t.TempDir()
	e := &exported{t: t, file: filepath.Join(folder, "state"), key: signedstatetest.NewKey(t, folder)}
	e.write(&nodev1.Update{Revision: 5, Bundles: some(bundle("a", "1"), bundle("b", "1")), Gateway: gatewayWith("exported", "exported")})
	return e
}

func (e *exported) write(update *nodev1.Update) {
	e.t.Helper()
	if err := os.WriteFile(e.file, e.key.Sign(e.t, update, time.Now().Add(-time.Hour)), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

func (e *exported) sources() StateSources {
	return StateSources{Places: []string{e.file}, Authority: e.key.Public, Log: quiet}
}

// start starts a node with the sources in a state directory.
func (e *exported) start(directory string, edit func(*bench)) *bench {
	e.t.Helper()
	b := &bench{t: e.t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, states: e.sources()}
	if edit != nil {
		edit(b)
	}
	return newBenchWith(e.t, b, directory)
}

// expectServed compares the routes and the listeners that Envoy has.
func (b *bench) expectServed(routes []string, listeners ...string) {
	b.t.Helper()
	_, got := b.envoy.serves()
	equal(b.t, "routes", got, routes...)
	equal(b.t, "listeners", b.envoy.listeners, listeners...)
}

func TestANodeWithoutAStateStartsFromAnExportedOne(t *testing.T) {
	directory := t.TempDir()
	b := export(t).start(directory, nil)
	b.expectServed([]string{"a|1", "b|1"}, "exported")
	stats := b.node.Stats()
	if stats.Revision != 5 || stats.Origin == nil || stats.Origin.Controller != "c" {
		t.Errorf("got %+v", stats)
	}
	b.node.Close()

	again := newBench(t, newScriptedEnvoy(true), directory) // without the file
	again.expectServed([]string{"a|1", "b|1"}, "exported")
	if origin := again.node.Stats().Origin; origin == nil || origin.Revision != 5 {
		t.Errorf("expected the origin to outlive a restart, got %v", origin)
	}
	again.node.Close()
}

func TestConsumersOfAStateAreTakenByANodeThatHasNone(t *testing.T) {
	e := export(t)
	serialized := func(name string) []byte {
		content, err := proto.Marshal(&nodev1.Consumer{Name: name, Claims: []*nodev1.ConsumerClaims{{Issuer: "id", Subject: name}}})
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	plans, err := proto.Marshal(&nodev1.Plans{Plans: []*nodev1.Plan{{Name: "gold"}}})
	if err != nil {
		t.Fatal(err)
	}
	e.write(&nodev1.Update{Revision: 5, Bundles: some(bundle("a", "1")), Consumers: &nodev1.ConsumerChange{Consumers: [][]byte{serialized("acme")}, Plans: plans}})
	for _, own := range []string{"", "own"} {
		directory := t.TempDir()
		index, err := consumers.Open(directory, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if own != "" {
			index.Apply(&nodev1.ConsumerChange{Consumers: [][]byte{serialized(own)}})
		}
		b := e.start(directory, func(b *bench) { b.consumers = index })
		if has := index.ByClaims("id", "acme") != nil && index.Plan("gold") != nil; has == (own != "") {
			t.Errorf("a node that has %q: has the state's consumers: %t", own, has)
		}
		b.node.Close()
		index.Close()
		if state, err := b.node.state.Read(statedir.LastGood); err != nil || state.GetConsumers() != nil {
			t.Errorf("expected no consumers beside the APIs, got %v, %v", state.GetConsumers(), err)
		}
		reopened, err := consumers.Open(directory, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if has := reopened.ByClaims("id", "acme") != nil; has == (own != "") {
			t.Errorf("after a restart, a node that has %q: has the state's consumers: %t", own, has)
		}
		reopened.Close()
	}
}

func TestANodeTakesWhatIsForItsLabels(t *testing.T) {
	e := export(t)
	zone := func(name string) *nodev1.NodeLabels {
		return &nodev1.NodeLabels{Labels: map[string]string{"zone": name}}
	}
	e.write(&nodev1.Update{Revision: 5, Bundles: some(bundle("a", "1"), bundle("b", "1"), bundle("c", "1")),
		Nodes: map[string]*nodev1.NodeLabels{"a": zone("eu"), "b": zone("us")}})
	directory := t.TempDir()
	b := e.start(directory, func(b *bench) { b.labels = map[string]string{"zone": "eu", "tier": "edge"} })
	b.expectServed([]string{"a|1", "c|1"})
	b.node.Close()

	newBench(t, newScriptedEnvoy(true), directory).expectServed([]string{"a|1", "c|1"})
}

func TestANodeWithAGatewayOfItsOwnTakesTheAPIsAlone(t *testing.T) {
	b := export(t).start(t.TempDir(), func(b *bench) { b.gatewayFile = gatewayWith("own", "own") })
	defer b.node.Close()
	b.expectServed([]string{"a|1", "b|1"}, "own")
}

func TestAStateOfTheNodesOwnIsNeverReplaced(t *testing.T) {
	for name, own := range map[string]*nodev1.Update{
		"an API": {Revision: 9, Bundles: some(bundle("own", "1"))}, "no API any more": {Revision: 9},
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			before := newBench(t, newScriptedEnvoy(true), directory)
			before.apply(8, some(bundle("own", "1")))
			var removed []string
			if len(own.GetBundles()) == 0 {
				removed = []string{"own"}
			}
			before.apply(9, own.GetBundles(), removed...)
			before.node.Close()

			b := export(t).start(directory, nil)
			defer b.node.Close()
			if stats := b.node.Stats(); stats.Revision != 9 || stats.Origin != nil {
				t.Errorf("expected the node's own state, got %+v", stats)
			}
			_, routes := b.envoy.serves()
			equal(t, "routes", routes, map[bool][]string{true: {"own|1"}}[removed == nil]...)
		})
	}
}

func TestADamagedStateOfTheNodesOwnIsReplaced(t *testing.T) {
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, statedir.LastGood), []byte("x\ny"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := export(t).start(directory, nil)
	defer b.node.Close()
	b.expectServed([]string{"a|1", "b|1"}, "exported")
}

func TestTheControllersAnswerTakesTheStatesPlace(t *testing.T) {
	address := controllertest.SocketPath(t)
	directory := t.TempDir()
	b := export(t).start(directory, func(b *bench) { b.controller = "unix:" + address })
	b.run()
	b.eventually("Envoy has it", func() bool { return b.node.Stats().APIs == 2 })
	if b.node.Stats().Origin == nil {
		t.Error("expected the origin while no controller has answered")
	}
	c, _ := controllertest.Start(t, address)
	stream := c.Accept(t)
	stream.ReceiveHello("a 1", "b 1")
	stream.Send(&nodev1.Update{Revision: 6, Bundles: some(bundle("a", "2")), RemovedApis: []string{"b"}})
	stream.ReceiveReport(6, "a 2 STATE_APPLIED", "b  STATE_REMOVED")
	if origin := b.node.Stats().Origin; origin != nil || b.node.state.ReadOrigin() != nil {
		t.Errorf("expected no origin any more, got %v", origin)
	}
}

func TestPlacesWithoutAStateAreTriedAgain(t *testing.T) {
	before := seedAgain
	seedAgain.First, seedAgain.Longest = time.Millisecond, time.Millisecond
	defer func() { seedAgain = before }()
	address := controllertest.SocketPath(t)
	c, _ := controllertest.Start(t, address)
	e := export(t)
	if err := os.Remove(e.file); err != nil {
		t.Fatal(err)
	}
	b := e.start(t.TempDir(), func(b *bench) { b.controller = "unix:" + address })
	if stats := b.node.Stats(); !strings.Contains(stats.NoState, "state: no such file or directory") || stats.Origin != nil {
		t.Errorf("expected the reason, got %+v", stats)
	}
	b.run()
	silent := c.Accept(t)
	silent.ReceiveHello() // it does not answer
	e.write(&nodev1.Update{Revision: 5, Bundles: some(bundle("a", "1"))})
	b.eventually("it is served", func() bool { return b.node.Stats().APIs == 1 })
	stream := c.Accept(t)
	stream.ReceiveHello("a 1") // so that the controller removes what is gone
	stream.Send(&nodev1.Update{Revision: 6, RemovedApis: []string{"a"}})
	stream.ReceiveReport(6, "a  STATE_REMOVED")
	if stats := b.node.Stats(); stats.NoState != "" || stats.Origin != nil {
		t.Errorf("got %+v", stats)
	}
}
