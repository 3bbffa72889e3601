package xds

import (
	"maps"
	"slices"
	"strconv"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// connection is one stream of one Envoy: the delta protocol without I/O. receive handles requests, next returns
// responses. It sends differences without waiting for the last acknowledgement: Envoy holds that back while a cluster's name
// does not resolve, and then the cluster must be removed again.
type connection struct {
	state         *state
	subscriptions map[string]*subscription
	nonces        uint64
}

type subscription struct {
	wildcard   bool
	names      map[string]bool
	has        map[string]string // versions by resource name: Envoy has them, or was sent them and has not refused them
	generation uint64            // of the last comparison
	sent       []sentResponse    // not answered yet, in order
	fresh      bool              // the first response is due, even an empty one: Envoy waits for it
}

// response is a response whose resources have their contents beside them: Codec puts these in.
type response struct {
	head     *discoveryv3.DeltaDiscoveryResponse
	contents []rope // of its resources, in their order
}

type sentResponse struct {
	nonce      string
	generation uint64
	names      []string
}

// refusedVersion marks a resource that Envoy may have or not: the next comparison sends or removes it.
const refusedVersion = ""

func newConnection(s *state) *connection {
	return &connection{state: s, subscriptions: map[string]*subscription{}}
}

// receive handles a request: a subscription, an acknowledgement, a refusal, or several of them. It returns Envoy's reason
// for a refusal. Types that the engine does not serve are ignored.
func (c *connection) receive(request *discoveryv3.DeltaDiscoveryRequest) (refused string) {
	typeURL := request.GetTypeUrl()
	if !slices.Contains(sendingOrder, typeURL) {
		return ""
	}
	sub := c.subscriptions[typeURL]
	if sub == nil {
		sub = &subscription{names: map[string]bool{}, has: maps.Clone(request.GetInitialResourceVersions()), fresh: true}
		if sub.has == nil {
			sub.has = map[string]string{}
		}
		sub.wildcard = len(request.GetResourceNamesSubscribe()) == 0
		c.subscriptions[typeURL] = sub
		c.state.subscribed(c, typeURL)
	} else {
		sub.forget(request.GetResourceNamesSubscribe())
	}
	sub.subscribe(request)
	return c.receiveAnswer(sub, request)
}

// forget forgets resources that Envoy requests again: the protocol requires that they are sent even if unchanged.
func (s *subscription) forget(names []string) {
	for _, name := range names {
		delete(s.has, name)
		s.generation = 0
	}
}

func (s *subscription) subscribe(request *discoveryv3.DeltaDiscoveryRequest) {
	for _, name := range request.GetResourceNamesSubscribe() {
		s.wildcard = s.wildcard || name == "*"
		s.names[name] = true
	}
	for _, name := range request.GetResourceNamesUnsubscribe() {
		s.wildcard = s.wildcard && name != "*"
		delete(s.names, name)
		delete(s.has, name)
	}
}

func (c *connection) receiveAnswer(sub *subscription, request *discoveryv3.DeltaDiscoveryRequest) (refused string) {
	at := slices.IndexFunc(sub.sent, func(r sentResponse) bool { return r.nonce == request.GetResponseNonce() })
	if at < 0 {
		return ""
	}
	answered := sub.sent[at]
	sub.sent = slices.Delete(sub.sent, 0, at+1)
	detail := request.GetErrorDetail()
	if detail != nil {
		for _, name := range answered.names {
			sub.has[name] = refusedVersion
		}
	}
	c.state.count(request.GetTypeUrl(), detail != nil)
	c.state.answer(c, request.GetTypeUrl(), answered.generation, detail != nil, detail.GetMessage())
	return detail.GetMessage()
}

// next returns the next response that is due, or nil. A resource is sent before the resources that name it.
func (c *connection) next() *response {
	for _, typeURL := range sendingOrder {
		if sub := c.subscriptions[typeURL]; sub != nil {
			if response := c.compare(typeURL, sub); response != nil {
				return response
			}
		}
	}
	return nil
}

func (c *connection) compare(typeURL string, sub *subscription) *response {
	resources, generation := c.state.desiredOf(typeURL)
	if sub.generation == generation {
		return nil
	}
	sub.generation = generation
	response := sub.difference(resources)
	if len(response.head.Resources)+len(response.head.RemovedResources) == 0 && !sub.fresh {
		c.unchanged(typeURL, sub, generation)
		return nil
	}
	sub.fresh = false
	c.nonces++
	response.head.TypeUrl = typeURL
	response.head.Nonce = strconv.FormatUint(c.nonces, 10)
	response.head.SystemVersionInfo = strconv.FormatUint(generation, 10)
	sub.sent = append(sub.sent, sentResponse{response.head.Nonce, generation, namesIn(response)})
	return response
}

// unchanged records that Envoy has this generation, or will have it with its answer to the last response.
func (c *connection) unchanged(typeURL string, sub *subscription, generation uint64) {
	if last := len(sub.sent) - 1; last >= 0 {
		sub.sent[last].generation = generation
		return
	}
	c.state.answer(c, typeURL, generation, false, "")
}

func (s *subscription) difference(resources Resources) *response {
	response := &response{head: &discoveryv3.DeltaDiscoveryResponse{}}
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		resource := resources[name]
		if version, ok := s.has[name]; ok && version == resource.Version {
			continue
		}
		if !s.wildcard && !s.names[name] {
			continue
		}
		s.has[name] = resource.Version
		response.head.Resources = append(response.head.Resources,
			&discoveryv3.Resource{Name: name, Version: resource.Version, Resource: &anypb.Any{TypeUrl: resource.typeURL}})
		response.contents = append(response.contents, resource.content)
	}
	for _, name := range slices.Sorted(maps.Keys(s.has)) {
		if _, keep := resources[name]; !keep {
			delete(s.has, name)
			response.head.RemovedResources = append(response.head.RemovedResources, name)
		}
	}
	return response
}

func namesIn(response *response) []string {
	var names []string
	for _, resource := range response.head.Resources {
		names = append(names, resource.GetName())
	}
	return names
}
