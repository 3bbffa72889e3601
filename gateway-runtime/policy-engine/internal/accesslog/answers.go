package accesslog

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/accesslog/entries"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/policy-engine/internal/xds"
)

// Answers reads the log of Envoy's own answers: it counts them, and records those of exchanges that the engine has
// not seen if a recording is under way.
type Answers struct {
	Counter  *proxyanswer.Counter
	Recorder *recording.Recorder
	Near     func(listener, authority, path string) xds.Near // explains a request that has matched no route
	Obstacle func(api string) node.Obstacle                  // why no version of an API runs

	near budget
}

// mostNear limits the explanations per second of requests without a route: each takes time that grows with the number of APIs.
const mostNear = 20

// budget limits the explanations of a second.
type budget struct {
	mutex  sync.Mutex
	second int64
	used   int
}

func (b *budget) spend(now time.Time) bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if second := now.Unix(); second != b.second {
		b.second, b.used = second, 0
	}
	b.used++
	return b.used <= mostNear
}

// viaUpstream is Envoy's response code detail for the upstream's answers.
const viaUpstream = "via_upstream"

// Read reads an entry.
func (a *Answers) Read(entry *accesslogv3.HTTPAccessLogEntry) {
	common, request, response := entry.GetCommonProperties(), entry.GetRequest(), entry.GetResponse()
	if response.GetResponseCodeDetails() == viaUpstream {
		return // with flags, if it is the last answer of several tries
	}
	tags := common.GetCustomTags()
	x := &recording.Unseen{
		RequestID: request.GetRequestId(), Client: addressOf(common.GetDownstreamRemoteAddress()), Scheme: request.GetScheme(),
		UserAgent: request.GetUserAgent(), StartedAt: common.GetStartTime().AsTime(), Lasted: common.GetDuration().AsDuration(),
	}
	path, query, _ := strings.Cut(tags[envoynames.PathTag], "?")
	api, operation, chainID := exchange.RouteParts(entries.RouteName(common))
	x.Query, x.Answer = query, proxyanswer.Answer{
		Status: int(response.GetResponseCode().GetValue()), Flags: orEmpty(tags[envoynames.FlagsTag]), Details: response.GetResponseCodeDetails(),
		Upstream: addressOf(common.GetUpstreamRemoteAddress()), Transport: common.GetUpstreamTransportFailureReason(),
		Method: tags[envoynames.MethodTag], Authority: tags[envoynames.AuthorityTag], Path: path, API: api, Operation: operation,
	}
	if x.Answer.IsUnserved() {
		obstacle := a.Obstacle(api)
		x.Answer.Obstacle, x.Answer.Unresolved = obstacle.Reason, obstacle.Unresolved
	}
	cause := proxyanswer.Explain(&x.Answer)
	a.Counter.Add(api, &cause)
	if hasSeen(chainID, x.Answer.Details) || !a.Recorder.IsActive() {
		return
	}
	if cause.Code == proxyanswer.NoRoute && a.near.spend(x.StartedAt) {
		near := a.Near(tags[envoynames.ListenerTag], x.Answer.Authority, path)
		x.Answer.API, cause.Reason, cause.Cure = near.API, near.Reason, near.Cure
	}
	a.Recorder.RecordUnseen(x, &cause)
}

// hasSeen reports whether the engine has seen the exchange: its route has a chain, and no filter has refused it
// before ext_proc.
func hasSeen(chainID, details string) bool {
	return chainID != "" && !strings.HasPrefix(details, "rbac_") && details != "local_rate_limited"
}

// orEmpty returns Envoy's text, "" for its placeholder "-".
func orEmpty(text string) string {
	if text == "-" {
		return ""
	}
	return text
}

func addressOf(address *corev3.Address) string {
	socket := address.GetSocketAddress()
	if socket == nil {
		return address.GetPipe().GetPath()
	}
	return net.JoinHostPort(socket.GetAddress(), strconv.FormatUint(uint64(socket.GetPortValue()), 10))
}
