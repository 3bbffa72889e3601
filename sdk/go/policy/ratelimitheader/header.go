// Package ratelimitheader reports the state of limits in the RateLimit-Policy and RateLimit headers of
// draft-ietf-httpapi-ratelimit-headers-10, and answers requests beyond them.
package ratelimitheader

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

const separator = ", "

// AppendPolicy appends an item of RateLimit-Policy: a number of requests in a window, in whole seconds. name has letters,
// digits, dots, underscores and hyphens.
func AppendPolicy(text []byte, name string, quota int64, window time.Duration) []byte {
	text = strconv.AppendInt(append(appendName(text, name), ";q="...), quota, 10)
	return strconv.AppendInt(append(text, ";w="...), int64(window.Seconds()), 10)
}

// AppendStanding appends an item of RateLimit: what is left, and the time until all of it is available again.
func AppendStanding(text []byte, name string, remaining int64, reset time.Duration) []byte {
	text = strconv.AppendInt(append(appendName(text, name), ";r="...), remaining, 10)
	return strconv.AppendInt(append(text, ";t="...), upSeconds(reset), 10)
}

func appendName(text []byte, name string) []byte {
	if len(text) > 0 {
		text = append(text, separator...)
	}
	return append(append(append(text, '"'), name...), '"')
}

// Headers returns both headers. Append them to a response: they are lists, and another policy may have limits of its own.
func Headers(policy, standing string) []v1alpha.Header {
	return []v1alpha.Header{{Name: "ratelimit-policy", Value: policy}, {Name: "ratelimit", Value: standing}}
}

// Exceeded returns a 429 (RFC 6585, section 4) with the problem of the draft, section 5.1, and with further headers.
// Retry-After is at least a second.
func Exceeded(names []string, retryAfter time.Duration, headers []v1alpha.Header) *v1alpha.ImmediateResponse {
	var violated []string
	for _, name := range names {
		violated = append(violated, strconv.Quote(name))
	}
	return &v1alpha.ImmediateResponse{
		StatusCode: http.StatusTooManyRequests,
		Headers:    append(problemHeaders(max(1, upSeconds(retryAfter))), headers...),
		Body: []byte(`{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,` +
			`"violated-policies":[` + strings.Join(violated, ",") + `]}`),
	}
}

// Unavailable returns a 503, with a retry after a second: the state of the limits is unknown.
func Unavailable() *v1alpha.ImmediateResponse {
	return &v1alpha.ImmediateResponse{
		StatusCode: http.StatusServiceUnavailable, Headers: problemHeaders(1),
		Body: []byte(`{"type":"about:blank","title":"Service Unavailable","status":503}`),
	}
}

func problemHeaders(retry int64) []v1alpha.Header {
	return []v1alpha.Header{
		{Name: "content-type", Value: "application/problem+json"}, {Name: "retry-after", Value: strconv.FormatInt(retry, 10)},
	}
}

func upSeconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }
