package xds

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// talk is a conversation between a connection and an Envoy that the test plays.
type talk struct {
	t     *testing.T
	state *state
	envoy *connection
	nonce string
}

func begin(t *testing.T, s *state) *talk {
	t.Helper()
	envoy := newConnection(s)
	s.connect(envoy)
	return &talk{t: t, state: s, envoy: envoy}
}

func (k *talk) asks(typeURL string, has map[string]string, names ...string) {
	k.envoy.receive(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: names, InitialResourceVersions: has})
}

// is sent holds the next response to "+added -removed", or to nothing.
func (k *talk) isSent(expected string) {
	k.t.Helper()
	var response *discoveryv3.DeltaDiscoveryResponse
	if next := k.envoy.next(); next != nil {
		response = next.head
	}
	var got []string
	for _, resource := range response.GetResources() {
		got = append(got, "+"+resource.GetName())
	}
	for _, name := range response.GetRemovedResources() {
		got = append(got, "-"+name)
	}
	text := strings.Join(got, " ")
	if response != nil && text == "" {
		text = "empty"
	}
	if text != expected {
		k.t.Fatalf("expected %q to be sent, got %q", expected, text)
	}
	if response != nil {
		k.nonce = response.GetNonce()
	}
}

func (k *talk) answers(typeURL, nonce, refusal string) {
	request := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResponseNonce: nonce}
	if refusal != "" {
		request.ErrorDetail = &rpcstatus.Status{Message: refusal}
	}
	k.envoy.receive(request)
}

func (k *talk) outcome(typeURL string, generation uint64) string {
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Millisecond)
	defer cancel()
	err := k.state.waitAcknowledged(ctx, typeURL, generation)
	var refused *RefusedError
	switch {
	case err == nil:
		return "yes"
	case errors.As(err, &refused):
		return "no: " + refused.Reason
	case errors.Is(err, ErrNoAnswer):
		return "silence"
	case errors.Is(err, ErrNoEnvoy):
		return "no Envoy"
	}
	return err.Error()
}

func clusters(names ...string) Resources {
	all := Resources{}
	for _, name := range names {
		short, version, _ := strings.Cut(name, "@")
		all[short] = newResource(short, ClusterType, []byte(version))
	}
	return all
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("expected %q, got %q", want, got)
	}
}

func fresh(t *testing.T) *state {
	t.Helper()
	s := newState()
	return s
}

func TestANewEnvoyIsSentEverythingClustersFirst(t *testing.T) {
	s := fresh(t)
	generation := s.set(ClusterType, clusters("a", "b"))
	k := begin(t, s)
	k.asks(RouteType, nil, envoynames.RouteConfiguration)
	k.asks(ClusterType, nil)
	k.isSent("+a +b")
	clustersNonce := k.nonce
	k.isSent("+gatewright")
	k.isSent("")
	expect(t, k.outcome(ClusterType, generation), "silence")
	k.answers(RouteType, k.nonce, "")
	expect(t, k.outcome(ClusterType, generation), "silence")
	k.answers(ClusterType, clustersNonce, "")
	expect(t, k.outcome(ClusterType, generation), "yes")
}

func TestAnEnvoyWithoutAnyClusterIsSentAnEmptyListToGoOn(t *testing.T) {
	k := begin(t, fresh(t))
	k.asks(ClusterType, nil)
	k.isSent("empty")
}

func TestOnlyDifferencesAreSent(t *testing.T) {
	s := fresh(t)
	s.set(ClusterType, clusters("a@1", "b"))
	k := begin(t, s)
	k.asks(ClusterType, nil)
	k.isSent("+a +b")
	k.answers(ClusterType, k.nonce, "")
	same := s.set(ClusterType, clusters("a@1", "b"))
	k.isSent("")
	expect(t, k.outcome(ClusterType, same), "yes")
	s.set(ClusterType, clusters("a@2", "c"))
	k.isSent("+a +c -b")
}

func TestAReconnectingEnvoyIsNotSentWhatItHas(t *testing.T) {
	s := fresh(t)
	generation := s.set(ClusterType, clusters("a", "b"))
	routes, routeGeneration := s.desiredOf(RouteType)
	k := begin(t, s)
	k.asks(ClusterType, map[string]string{"a": clusters("a")["a"].Version, "old": "x"})
	k.asks(RouteType, map[string]string{envoynames.RouteConfiguration: routes[envoynames.RouteConfiguration].Version}, envoynames.RouteConfiguration)
	k.isSent("+b -old")
	k.answers(ClusterType, k.nonce, "")
	expect(t, k.outcome(ClusterType, generation), "yes")
	k.isSent("empty")
	k.answers(RouteType, k.nonce, "")
	expect(t, k.outcome(RouteType, routeGeneration), "yes")
}

func TestARefusedResourceIsSentAgainOnlyAfterAChange(t *testing.T) {
	s := fresh(t)
	k := begin(t, s)
	k.asks(ClusterType, nil)
	k.isSent("empty")
	k.answers(ClusterType, k.nonce, "")
	bad := s.set(ClusterType, clusters("a"))
	k.isSent("+a")
	k.answers(ClusterType, k.nonce, "a is bad")
	expect(t, k.outcome(ClusterType, bad), "no: a is bad")
	k.isSent("")
	again := s.set(ClusterType, clusters("a"))
	k.isSent("+a")
	k.answers(ClusterType, k.nonce, "")
	expect(t, k.outcome(ClusterType, again), "yes")
}

func TestRefusedResourcesAreRemovedSinceEnvoyMayHaveSome(t *testing.T) {
	s := fresh(t)
	k := begin(t, s)
	k.asks(ClusterType, nil)
	k.isSent("empty")
	s.set(ClusterType, clusters("a", "b"))
	k.isSent("+a +b")
	k.answers(ClusterType, k.nonce, "b is bad")
	s.set(ClusterType, clusters("a"))
	k.isSent("+a -b")
}

// Envoy holds an acknowledgement back while a cluster warms: the next change must not wait for it.
func TestAChangeIsSentWhileAnAcknowledgementIsPending(t *testing.T) {
	s := fresh(t)
	k := begin(t, s)
	k.asks(ClusterType, nil)
	k.isSent("empty")
	k.answers(ClusterType, k.nonce, "")
	held := s.set(ClusterType, clusters("held"))
	k.isSent("+held")
	first := k.nonce
	freed := s.set(ClusterType, clusters())
	k.isSent("-held")
	expect(t, k.outcome(ClusterType, freed), "silence")
	k.answers(ClusterType, first, "")
	expect(t, k.outcome(ClusterType, held), "yes")
	expect(t, k.outcome(ClusterType, freed), "silence")
	k.answers(ClusterType, k.nonce, "")
	expect(t, k.outcome(ClusterType, freed), "yes")
}

func TestAnUnchangedGenerationIsConfirmedByTheLastResponse(t *testing.T) {
	s := fresh(t)
	k := begin(t, s)
	k.asks(ClusterType, nil)
	s.set(ClusterType, clusters("a"))
	k.isSent("+a")
	s.set(ClusterType, clusters("a", "b"))
	last := s.set(ClusterType, clusters("a"))
	k.isSent("")
	expect(t, k.outcome(ClusterType, last), "silence")
	k.answers(ClusterType, k.nonce, "")
	expect(t, k.outcome(ClusterType, last), "yes")
}

func TestTheAnswersOfAReplacedEnvoyDoNotCount(t *testing.T) {
	s := fresh(t)
	old := begin(t, s)
	old.asks(ClusterType, nil)
	generation := s.set(ClusterType, clusters("a"))
	old.isSent("+a")
	newer := begin(t, s)
	old.answers(ClusterType, old.nonce, "")
	expect(t, newer.outcome(ClusterType, generation), "silence")
	s.disconnect(old.envoy)
	expect(t, newer.outcome(ClusterType, generation), "silence")
	s.disconnect(newer.envoy)
	expect(t, newer.outcome(ClusterType, generation), "no Envoy")
}

func TestAnEnvoyServesOnceItHasListenersAndTheirRoutes(t *testing.T) {
	s := fresh(t)
	for range 2 { // the second Envoy has to answer anew
		k := begin(t, s)
		serves := func(want bool) {
			t.Helper()
			if got := s.envoyServes(); got != want {
				t.Errorf("expected that Envoy serves: %t, got %t", want, got)
			}
		}
		k.asks(ListenerType, nil)
		k.isSent("empty")
		serves(false)
		k.asks(RouteType, nil, envoynames.RouteConfiguration) // before it acknowledges the listeners
		k.answers(ListenerType, k.nonce, "")
		serves(false)
		k.isSent("+gatewright")
		k.answers(RouteType, k.nonce, "")
		serves(true)
		s.set(ListenerType, Resources{"http": newResource("http", ListenerType, []byte("changed"))})
		serves(true)
		s.set(ListenerType, Resources{})
		s.disconnect(k.envoy)
		serves(false)
	}
}

func TestOtherTypesAndStrayNoncesAreIgnored(t *testing.T) {
	k := begin(t, fresh(t))
	k.asks("type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", nil)
	k.isSent("")
	k.asks(ClusterType, nil)
	k.answers(ClusterType, "77", "what?")
	k.isSent("empty")
}

func TestARouteConfigurationThatIsRequestedAgainIsSentAgain(t *testing.T) {
	k := begin(t, fresh(t))
	k.asks(RouteType, nil, envoynames.RouteConfiguration)
	k.isSent("+" + envoynames.RouteConfiguration)
	k.answers(RouteType, k.nonce, "")
	k.asks(RouteType, nil, envoynames.RouteConfiguration)
	k.isSent("+" + envoynames.RouteConfiguration)
	k.envoy.receive(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: RouteType, ResourceNamesUnsubscribe: []string{envoynames.RouteConfiguration}})
	k.state.set(RouteType, Resources{envoynames.RouteConfiguration: newResource(envoynames.RouteConfiguration, RouteType, []byte(fmt.Sprint(1)))})
	k.isSent("")
}
