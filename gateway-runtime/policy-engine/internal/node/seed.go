package node

import (
	"context"
	"slices"
	"strings"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/node/signedstate"
	"gatewright.dev/policy-engine/internal/node/statedir"
)

// seedLimit bounds how long the start waits for a state from elsewhere. A large one over a slow network comes after the start.
const seedLimit = 15 * time.Second

// seedAgain is the wait before the places of states are tried again, where none had a usable one.
var seedAgain = backoff.Doubling{First: 2 * time.Second, Longest: time.Minute, More: 0.25}

// isEmpty reports whether a node that restores this state has none of its own: neither an API nor word of a controller.
func isEmpty(state *nodev1.Update) bool {
	return len(state.GetBundles()) == 0 && state.GetRevision() == 0
}

// seed fills an empty state directory with a state from elsewhere, as if a controller had sent it, and returns it; nil: there is none.
func (n *Node) seed(ctx context.Context) *nodev1.Update {
	if len(n.options.States.Places) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, seedLimit)
	defer cancel()
	state, err := n.options.States.Load(ctx)
	if err != nil {
		n.noteNoState(err)
		return nil
	}
	update := n.acceptSeed(state)
	if err := n.state.Write(statedir.LastGood, update); err != nil {
		n.log.Error("cannot store the state that this node starts from", "directory", n.state.Path(), "error", err.Error())
	}
	if gateway := update.GetGateway(); gateway != nil {
		n.gateway.Seed(gateway)
	}
	return update
}

// acceptSeed notes where the state is from, and returns what of it is this node's: the Gateway only where no file has one, since
// the ports of another node are not this one's. Consumers are taken at once, unless the node has some.
func (n *Node) acceptSeed(state *signedstate.State) *nodev1.Update {
	if n.options.Gateway != nil {
		state.Update.Gateway = nil
	}
	keepOwn(state.Update, n.options.Labels)
	if change := state.Update.GetConsumers(); change != nil && n.options.Consumers != nil && n.options.Consumers.Len() == 0 {
		n.options.Consumers.Apply(change)
	}
	state.Update.Consumers = nil // they have files of their own
	n.setOrigin(&statedir.Origin{Place: state.Place, Controller: state.Controller, Made: state.Made, Revision: state.Revision})
	n.log.Warn("this node starts from a state of another place, until a controller answers", "place", state.Place, "made", state.Made.UTC().Format(time.RFC3339),
		"revision", state.Revision, "apis", len(state.Update.GetBundles()), "controller", state.Controller)
	return state.Update
}

// keepOwn leaves the APIs of a state that are for nodes with these labels.
func keepOwn(state *nodev1.Update, labels map[string]string) {
	state.Bundles = slices.DeleteFunc(state.GetBundles(), func(bundle *nodev1.ApiBundle) bool {
		for key, value := range state.GetNodes()[bundle.GetApi()].GetLabels() {
			if labels[key] != value {
				return true
			}
		}
		return false
	})
	state.Nodes = nil
}

func (n *Node) noteNoState(err error) {
	reason := strings.ReplaceAll(err.Error(), "\n", "; ")
	if reason != n.snapshot.Load().noState {
		n.log.Error("no place has a state that this node can start from; they are tried again until a controller answers", "reason", reason)
	}
	n.updateSnapshot(func(s *snapshot) { s.noState = reason })
}

// setOrigin stores where the state is from; nil: a controller has sent it.
func (n *Node) setOrigin(origin *statedir.Origin) {
	n.updateSnapshot(func(s *snapshot) { s.origin, s.noState = origin, "" })
	if err := n.state.WriteOrigin(origin); err != nil {
		n.log.Error("cannot store where this node's state is from", "directory", n.state.Path(), "error", err.Error())
	}
}

// followController forgets where the state is from, once a controller has answered: it says what is to be served.
func (n *Node) followController() {
	now := n.snapshot.Load()
	if n.client.Connected() && (now.origin != nil || now.noState != "") {
		n.setOrigin(nil)
	}
}

// seedLater tries the places again until one has a usable state, or a controller has answered. The state is delivered to Run.
func (n *Node) seedLater(ctx context.Context) {
	for tries := 0; ctx.Err() == nil; tries++ {
		backoff.Sleep(ctx, seedAgain.Wait(tries))
		if ctx.Err() != nil || n.snapshot.Load().noState == "" {
			return
		}
		state, err := n.options.States.Load(ctx)
		if err == nil {
			n.seeds <- state
			return
		}
	}
}

// applySeed applies a state that has come after the start. The stream to the controller begins anew, if there is one: its hello
// does not have these APIs, so that the controller would not remove those that are gone.
func (n *Node) applySeed(ctx context.Context, state *signedstate.State) {
	if n.snapshot.Load().noState == "" {
		return
	}
	update := n.acceptSeed(state)
	n.apply(ctx, controller.Pack(update), n.timing.Acknowledge)
	n.client.Restart()
}
