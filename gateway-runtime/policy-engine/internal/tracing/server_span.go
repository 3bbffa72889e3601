package tracing

import (
	"net"
	"strconv"
	"strings"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"gatewright.dev/policy-engine/internal/exchange"
)

// serverSpan has the data of an exchange's span: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
type serverSpan struct {
	trace                           *exchange.Trace
	api, operation                  string // of the route; "" if no route matched
	method, scheme, authority, path string // as the client sent them; path with the query
	client, userAgent, requestID    string // client: IP:PORT
	protocol                        string // 1.1, 2, 3; "" if unknown
	start, end                      time.Time
	status                          int    // 0: none
	details, flags                  string // Envoy's response code details and flags
	received, sent                  uint64 // bytes of bodies
}

func (t *Tracing) serverSpan(s *serverSpan) *tracev1.Span {
	name := s.method
	if s.api != "" {
		name = s.api + " " + s.operation
	}
	result := span(s.trace.ID, s.trace.Exchange, s.trace.Parent, name, tracev1.Span_SPAN_KIND_SERVER, s.start, s.end)
	result.Flags |= isRemote
	result.TraceState = s.trace.State
	var set attributes
	set.text("http.request.method", s.method)
	path, query, _ := strings.Cut(s.path, "?")
	path, _ = t.redaction().Path(path)
	query, _ = t.redaction().Query(query)
	set.text("url.path", path)
	set.text("url.query", query)
	set.text("url.scheme", s.scheme)
	set.address("server", s.authority)
	set.address("client", s.client)
	agent, _ := t.redaction().HeaderValue("user-agent", s.userAgent)
	set.text("user_agent.original", agent)
	set.text("network.protocol.version", s.protocol)
	if s.received > 0 {
		set.number("http.request.body.size", int64(s.received)) //nolint:gosec // bytes of a body
	}
	if s.sent > 0 {
		set.number("http.response.body.size", int64(s.sent)) //nolint:gosec // bytes of a body
	}
	set.text(apiAttribute, s.api)
	set.text(operationAttribute, s.operation)
	set.text(requestIDAttribute, s.requestID)
	set.text(detailsAttribute, s.details)
	set.text(flagsAttribute, s.flags)
	if s.status != 0 {
		set.number("http.response.status_code", int64(s.status))
	}
	if s.status >= 500 {
		set.text(errorType, strconv.Itoa(s.status))
		result.Status = errorStatus(s.details)
	}
	result.Attributes = set
	return result
}

// address adds a host and a port, if there is one.
func (a *attributes) address(prefix, hostPort string) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	a.text(prefix+".address", host)
	if number, err := strconv.Atoi(port); err == nil {
		a.number(prefix+".port", int64(number))
	}
}

func textAttribute(key, value string) *commonv1.KeyValue {
	var list attributes
	list.text(key, value)
	return list[0]
}
