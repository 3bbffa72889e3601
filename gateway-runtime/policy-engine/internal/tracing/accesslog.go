package tracing

import (
	"encoding/hex"
	"net"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/accesslog/entries"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Read makes the spans of an exchange and of its upstream request: of exchanges that are traced, and of a share of those
// on routes without policies, which the engine does not see otherwise.
func (t *Tracing) Read(entry *accesslogv3.HTTPAccessLogEntry) {
	common := entry.GetCommonProperties()
	api, operation, chainID := exchange.RouteParts(entries.RouteName(common))
	traced := t.traceOf(entry, chainID)
	if traced == nil {
		return
	}
	request, response, tags := entry.GetRequest(), entry.GetResponse(), common.GetCustomTags()
	start := common.GetStartTime().AsTime()
	s := &serverSpan{
		trace: traced, api: api, operation: operation, method: tags[envoynames.MethodTag], scheme: request.GetScheme(), authority: tags[envoynames.AuthorityTag],
		path: tags[envoynames.PathTag], client: addressOf(common.GetDownstreamRemoteAddress()), userAgent: request.GetUserAgent(), requestID: request.GetRequestId(),
		protocol: protocols[entry.GetProtocolVersion()], start: start, end: start.Add(common.GetDuration().AsDuration()),
		status: int(response.GetResponseCode().GetValue()), details: response.GetResponseCodeDetails(), flags: flagsOf(tags),
		received: request.GetRequestBodyBytes(), sent: response.GetResponseBodyBytes(),
	}
	t.export(t.serverSpan(s))
	if upstream := upstreamSpan(common, s); upstream != nil {
		t.export(upstream)
	}
}

var protocols = map[accesslogv3.HTTPAccessLogEntry_HTTPVersion]string{
	accesslogv3.HTTPAccessLogEntry_HTTP10: "1.0", accesslogv3.HTTPAccessLogEntry_HTTP11: "1.1",
	accesslogv3.HTTPAccessLogEntry_HTTP2: "2", accesslogv3.HTTPAccessLogEntry_HTTP3: "3",
}

// flagsOf returns Envoy's response flags; "" if there are none.
func flagsOf(tags map[string]string) string {
	if flags := tags[envoynames.FlagsTag]; flags != "-" {
		return flags
	}
	return ""
}

// traceOf returns the trace of a logged exchange; nil if it has none. For exchanges with a chain the engine decided
// earlier, and the metadata contains its decision; for others it decides here.
func (t *Tracing) traceOf(entry *accesslogv3.HTTPAccessLogEntry, chainID string) *exchange.Trace {
	fields := entry.GetCommonProperties().GetMetadata().GetFilterMetadata()[envoynames.TraceNamespace].GetFields()
	if engineTrace := readTrace(fields); engineTrace != nil {
		return engineTrace
	}
	s := t.state.Load()
	if chainID != "" || s == nil {
		return nil
	}
	token, tags := fields[envoynames.TraceTokenKey].GetStringValue(), entry.GetCommonProperties().GetCustomTags()
	if token != "" && !s.token.matches(token) {
		return nil // logged only for the token, or by chance
	}
	var headers v1alpha.Headers
	for name, tag := range map[string]string{"traceparent": tags[envoynames.TraceparentTag], "tracestate": tags[envoynames.TracestateTag]} {
		if tag != "" {
			headers = append(headers, v1alpha.Header{Name: name, Value: tag})
		}
	}
	return newTrace(parentOf(headers))
}

// readTrace returns the trace that the engine put into the metadata; nil if there is none.
func readTrace(fields map[string]*structpb.Value) *exchange.Trace {
	result := &exchange.Trace{State: fields[envoynames.TraceStateKey].GetStringValue()}
	for _, field := range []struct {
		into []byte
		from string
	}{{result.ID[:], envoynames.TraceIDKey}, {result.Exchange[:], envoynames.TraceSpanIDKey}, {result.Upstream[:], envoynames.TraceUpstreamIDKey}} {
		text := fields[field.from].GetStringValue()
		if n, err := hex.Decode(field.into, []byte(text)[:min(len(text), 2*len(field.into))]); err != nil || n != len(field.into) {
			return nil
		}
	}
	if text := fields[envoynames.TraceParentIDKey].GetStringValue(); len(text) == 2*len(result.Parent) {
		_, _ = hex.Decode(result.Parent[:], []byte(text)) // it is what we wrote
	}
	return result
}

// upstreamSpan returns the span of the upstream request; nil if there was none. It begins with the first byte that was sent,
// or, if no connection was established, with the end of the client's headers.
func upstreamSpan(common *accesslogv3.AccessLogCommon, s *serverSpan) *tracev1.Span {
	sent := common.GetTimeToFirstUpstreamTxByte()
	if sent == nil && common.GetUpstreamRemoteAddress() == nil {
		return nil
	}
	start, end := s.after(sent, s.start), s.after(common.GetTimeToLastUpstreamRxByte(), s.end)
	if sent == nil {
		start = s.after(common.GetTimeToLastRxByte(), s.start)
	}
	result := span(s.trace.ID, s.trace.Upstream, s.trace.Exchange, "upstream "+s.method, tracev1.Span_SPAN_KIND_CLIENT, start, end)
	result.TraceState = s.trace.State
	var set attributes
	set.text("http.request.method", s.method)
	set.address("server", addressOf(common.GetUpstreamRemoteAddress()))
	set.text(apiAttribute, s.api)
	if tries := common.GetUpstreamRequestAttemptCount(); tries > 1 {
		set.number("http.request.resend_count", int64(tries)-1)
	}
	switch answered := common.GetTimeToFirstUpstreamRxByte() != nil; {
	case !answered:
		reason := common.GetUpstreamTransportFailureReason()
		if reason == "" {
			reason = s.details
		}
		set.text(errorType, orDefault(s.flags, "no_response"))
		result.Status = errorStatus(reason)
	case s.details == viaUpstream:
		set.number("http.response.status_code", int64(s.status))
		if s.status >= 400 {
			set.text(errorType, strconv.Itoa(s.status))
			result.Status = errorStatus("")
		}
	}
	result.Attributes = set
	return result
}

// viaUpstream is Envoy's response code detail for the upstream's answers.
const viaUpstream = "via_upstream"

func (s *serverSpan) after(passed *durationpb.Duration, otherwise time.Time) time.Time {
	if passed == nil {
		return otherwise
	}
	return s.start.Add(passed.AsDuration())
}

func orDefault(text, other string) string {
	if text != "" {
		return text
	}
	return other
}

func addressOf(address *corev3.Address) string {
	socket := address.GetSocketAddress()
	if socket == nil {
		return strings.TrimSpace(address.GetPipe().GetPath())
	}
	return net.JoinHostPort(socket.GetAddress(), strconv.FormatUint(uint64(socket.GetPortValue()), 10))
}
