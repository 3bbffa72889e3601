package chain

import (
	"encoding/json"
	"net/http"

	"gatewright.dev/sdk/policy/v1alpha"
)

// A fault is a failure class as the client sees it, which learns nothing about the policy.
type fault struct {
	status     int
	grpcStatus uint32
	detail     string
}

// gRPC status codes (google.rpc.Code).
const (
	grpcDeadlineExceeded  = 4
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
)

func faultOf(class v1alpha.FailureClass, request bool) fault {
	switch class {
	case v1alpha.ClassTimeout:
		return fault{http.StatusGatewayTimeout, grpcDeadlineExceeded, "A policy of the gateway did not answer in time."}
	case v1alpha.ClassOverloaded, v1alpha.ClassUnavailable, v1alpha.ClassCrashed:
		return fault{http.StatusServiceUnavailable, grpcUnavailable, "A policy of the gateway is not available."}
	case v1alpha.ClassBodyTooLarge:
		if request {
			return fault{http.StatusRequestEntityTooLarge, grpcResourceExhausted, "The request body is too large."}
		}
		return fault{http.StatusBadGateway, grpcResourceExhausted, "The response body is too large for the gateway."}
	case v1alpha.ClassBadBody:
		if request {
			return fault{http.StatusUnsupportedMediaType, grpcUnimplemented, "The request body is partial (content-range), or has a content encoding; expected the whole body without one."}
		}
		return fault{http.StatusBadGateway, grpcInternal, "The response body is partial, or has a content encoding that the gateway cannot read."}
	default:
		return fault{http.StatusInternalServerError, grpcInternal, "A policy of the gateway failed."}
	}
}

// Problem is an answer of the gateway's own, as application/problem+json (RFC 9457). 503 asks the client to retry after
// 1 s, 415 to send no content encoding (RFC 9110, 15.5.16).
func Problem(status int, detail, requestID string) *v1alpha.ImmediateResponse {
	body, err := json.Marshal(struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		RequestID string `json:"requestId,omitempty"`
	}{"about:blank", http.StatusText(status), status, detail, requestID})
	if err != nil {
		panic(err) // four strings and an int
	}
	answer := &v1alpha.ImmediateResponse{StatusCode: status, Body: body}
	answer.Headers = append(answer.Headers, v1alpha.Header{Name: "content-type", Value: "application/problem+json"})
	switch status {
	case http.StatusServiceUnavailable:
		answer.Headers = append(answer.Headers, v1alpha.Header{Name: "retry-after", Value: "1"})
	case http.StatusUnsupportedMediaType:
		answer.Headers = append(answer.Headers, v1alpha.Header{Name: "accept-encoding", Value: identity})
	}
	return answer
}
