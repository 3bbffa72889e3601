package chain

import (
	"net/http"

	"gatewright.dev/sdk/policy/v1alpha"
)

// A policy that reads a body reads all of it: a range could cut through text that a policy masks or checks (RFC 9110,
// 14). So if a policy reads the response, a request for a range goes upstream without it, and the server may answer
// with the whole; a range that comes all the same is badBody. A policy that reads bodies as they came (encodedBodies:
// PASS) gets ranges too.

// rangeHeaders are the request headers that ask for a range.
var rangeHeaders = [...]string{"range", "if-range"}

// askForWhole removes the headers that ask for a range from the request.
func (x *exchange) askForWhole() {
	for _, name := range rangeHeaders {
		if x.request.headers.view.Has(name) {
			x.request.headers.remove(name)
		}
	}
}

// withdrawRanges removes accept-ranges from the response, since ranges are removed from requests.
func (m *message) withdrawRanges() {
	if m.headers.view.Has("accept-ranges") && !m.headers.isTouched("accept-ranges") {
		m.headers.remove("accept-ranges")
	}
}

// isPart reports whether the message came with a range of a body. A 416 has the length of the whole in content-range,
// and a body of its own (RFC 9110, 15.5.17).
func (m *message) isPart() bool {
	if m.replaced || m.bodiless && m.body.size == 0 {
		return false
	}
	return m.status == http.StatusPartialContent ||
		m.status != http.StatusRequestedRangeNotSatisfiable && m.headers.original.Has("content-range")
}

// partOfBody is the failure of a policy that reads a body of which only a range came.
func partOfBody(part string, m *message) *v1alpha.Failure {
	sign := "status 206"
	if value := m.headers.original.Get("content-range"); value != "" {
		sign = "content-range: " + value
	}
	return v1alpha.Failf(v1alpha.ClassBadBody,
		"%s body: expected the whole, got a part (%s); encodedBodies: PASS in the policy's definition gives it as it came", part, sign)
}
