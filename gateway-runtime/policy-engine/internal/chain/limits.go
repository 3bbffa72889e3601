package chain

import (
	"fmt"
	"net/http"

	"gatewright.dev/sdk/policy/v1alpha"
)

// The limits of a message's headers: what its client or upstream may send (431, 502), and what policies may make of it
// (badAction). Envoy's are higher by default: 256 lines and 256 KiB, which the controller writes into listeners, where the
// Gateway may lower them (headerCount, headerBytes), and into clusters (translate/envoy). Envoy would answer a larger
// message by itself, without a reason in any log.
const (
	maxReceivedLines, maxReceivedBytes = 100, 64 << 10
	maxPolicyLines, maxPolicyBytes     = 200, 128 << 10
	maxTargetBytes                     = 32 << 10 // of path, query and authority that a policy chooses, each
)

// exceededHeaderLimit describes the limit that the headers, together with target more bytes, exceed; "" if none.
func exceededHeaderLimit(headers v1alpha.Headers, target, lines, bytes int) string {
	if len(headers) > lines {
		return fmt.Sprintf("expected at most %d header lines, got %d", lines, len(headers))
	}
	size := target
	for i := range headers {
		size += len(headers[i].Name) + len(headers[i].Value)
	}
	if size > bytes {
		return fmt.Sprintf("expected at most %d bytes of headers, got %d", bytes, size)
	}
	return ""
}

// refuseRequest answers a request with more headers than a client may send. It runs before the policies.
func (x *exchange) refuseRequest() bool {
	if x.chain.onlyShadows {
		return false
	}
	reason := exceededHeaderLimit(x.head.Headers, len(x.head.Path)+len(x.head.Authority), maxReceivedLines, maxReceivedBytes)
	if reason == "" {
		return false
	}
	x.refuse(PhaseRequest, reason, fault{
		http.StatusRequestHeaderFieldsTooLarge, grpcResourceExhausted, "The request's headers are too many or too large: " + reason + ", with those that the gateway adds.",
	})
	return true
}

// refuseResponse replaces a response with more headers than an upstream may send by an answer of the gateway's own.
func (x *exchange) refuseResponse(head Head) {
	if reason := exceededHeaderLimit(head.Headers, 0, maxReceivedLines, maxReceivedBytes); reason != "" && !x.chain.onlyShadows {
		x.refuse(PhaseResponse, reason, fault{
			http.StatusBadGateway, grpcResourceExhausted, "The upstream's response headers are too many or too large.",
		})
	}
}

// headersTooLarge is what the access log says then.
const headersTooLarge = "headers_too_large"

func (x *exchange) refuse(phase, reason string, f fault) {
	x.chain.spec.Observer.MessageRefused(RefusedMessage{
		RequestID: x.head.RequestID, Phase: phase, API: x.chain.spec.API, Operation: x.chain.spec.Operation, Reason: reason,
	})
	x.answerFault(f, headersTooLarge)
}
