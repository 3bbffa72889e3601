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

	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/extproc"
	"gatewright.dev/sdk/policy/v1alpha"
)

// The tags that listeners have Envoy log beside what it logs by itself, and the headers: translate/envoy/traces.py.
const (
	methodTag, pathTag, authorityTag, flagsTag = "method", "path", "authority", "flags"
	parentTag, stateTag                        = "traceparent", "tracestate"
)

// Log is the name of the part of Envoy's access log that spans are made of: exchanges that are traced, and a share of those
// on routes without policies, which the engine does not see otherwise.
const Log = "traces"

// Read makes the spans of an exchange and of its upstream.
func (t *Tracing) Read(entry *accesslogv3.HTTPAccessLogEntry) {
	common := entry.GetCommonProperties()
	api, operation, chainID := exchange.RouteParts(common.GetRouteName())
	traced := t.traceOf(entry, chainID)
	if traced == nil {
		return
	}
	request, response, tags := entry.GetRequest(), entry.GetResponse(), common.GetCustomTags()
	start := common.GetStartTime().AsTime()
	s := &serverSpan{
		trace: traced, api: api, operation: operation, method: tags[methodTag], scheme: request.GetScheme(), authority: tags[authorityTag],
		path: tags[pathTag], client: addressOf(common.GetDownstreamRemoteAddress()), userAgent: request.GetUserAgent(), requestID: request.GetRequestId(),
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

// flagsOf are Envoy's response flags; "" where there is none.
func flagsOf(tags map[string]string) string {
	if flags := tags[flagsTag]; flags != "-" {
		return flags
	}
	return ""
}

// traceOf is the trace of an exchange that was logged; nil where it has none. The engine has decided of those that have a
// chain, and said so in their metadata; of the others it decides here.
func (t *Tracing) traceOf(entry *accesslogv3.HTTPAccessLogEntry, chainID string) *exchange.Trace {
	fields := entry.GetCommonProperties().GetMetadata().GetFilterMetadata()[extproc.TraceNamespace].GetFields()
	if told := readTrace(fields); told != nil {
		return told
	}
	s := t.state.Load()
	if chainID != "" || s == nil {
		return nil
	}
	token, tags := fields[extproc.TraceToken].GetStringValue(), entry.GetCommonProperties().GetCustomTags()
	if token != "" && !s.token.is(token) {
		return nil // it would not have been sent here but for the token, or by chance
	}
	var headers v1alpha.Headers
	for name, tag := range map[string]string{"traceparent": tags[parentTag], "tracestate": tags[stateTag]} {
		if tag != "" {
			headers = append(headers, v1alpha.Header{Name: name, Value: tag})
		}
	}
	return newTrace(parentOf(headers))
}

// readTrace is the trace that the engine has told Envoy; nil where it has told none.
func readTrace(fields map[string]*structpb.Value) *exchange.Trace {
	made := &exchange.Trace{State: fields[extproc.TraceState].GetStringValue()}
	for _, one := range []struct {
		into []byte
		from string
	}{{made.ID[:], extproc.TraceID}, {made.Exchange[:], extproc.TraceSpan}, {made.Upstream[:], extproc.TraceUpstream}} {
		text := fields[one.from].GetStringValue()
		if n, err := hex.Decode(one.into, []byte(text)[:min(len(text), 2*len(one.into))]); err != nil || n != len(one.into) {
			return nil
		}
	}
	if text := fields[extproc.TraceParent].GetStringValue(); len(text) == 2*len(made.Parent) {
		_, _ = hex.Decode(made.Parent[:], []byte(text)) // it is what we wrote
	}
	return made
}

// upstreamSpan is that of the request as it went upstream; nil where none did. It begins with the first byte that was sent,
// or, where no connection came about, with the end of the client's headers.
func upstreamSpan(common *accesslogv3.AccessLogCommon, s *serverSpan) *tracev1.Span {
	sent := common.GetTimeToFirstUpstreamTxByte()
	if sent == nil && common.GetUpstreamRemoteAddress() == nil {
		return nil
	}
	start, end := s.after(sent, s.start), s.after(common.GetTimeToLastUpstreamRxByte(), s.end)
	if sent == nil {
		start = s.after(common.GetTimeToLastRxByte(), s.start)
	}
	made := span(s.trace.ID, s.trace.Upstream, s.trace.Exchange, "upstream "+s.method, tracev1.Span_SPAN_KIND_CLIENT, start, end)
	made.TraceState = s.trace.State
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
		set.text(errorType, orElse(s.flags, "no_response"))
		made.Status = failed(reason)
	case s.details == viaUpstream:
		set.number("http.response.status_code", int64(s.status))
		if s.status >= 400 {
			set.text(errorType, strconv.Itoa(s.status))
			made.Status = failed("")
		}
	}
	made.Attributes = set
	return made
}

// viaUpstream is what Envoy says of an answer that is the upstream's.
const viaUpstream = "via_upstream"

func (s *serverSpan) after(passed *durationpb.Duration, otherwise time.Time) time.Time {
	if passed == nil {
		return otherwise
	}
	return s.start.Add(passed.AsDuration())
}

func orElse(text, other string) string {
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
