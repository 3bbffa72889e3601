// Package proxyanswer says of an answer that the proxy has made by itself whose fault it is, why it was made, and what to
// do about it. What Envoy tells of such an answer are its response flags and its response code details.
package proxyanswer

import (
	"cmp"
	"strings"
)

// Answer is what the proxy tells of an answer that it has made by itself.
type Answer struct {
	Status    int
	Flags     string // Envoy's response flags, joined by commas: "UF,URX"; "": none
	Details   string // Envoy's response code details: "no_healthy_upstream"
	Upstream  string // ip:port of the target that was asked last; "": none was
	Transport string // why the connection to it failed, in Envoy's words; "": it did not, or Envoy does not say

	Method, Authority, Path string // of the request; Path without the query
	API, Operation          string // of the route; "": none was found

	Obstacle   string // why nothing of the API runs, of an answer that IsUnserved; "": it is not known
	Unresolved string // the name of the API's upstream that does not resolve, where that is why
}

// Party is whose doing an answer is.
type Party string

// The parties.
const (
	Client   Party = "client"   // the request is not one that the gateway takes
	Upstream Party = "upstream" // the target, or the way to it
	Gateway  Party = "gateway"  // what its operator or the API's publisher has set, or its own state
)

// Cause is why the proxy has answered by itself.
type Cause struct {
	Party    Party  `json:"party"`
	Code     string `json:"code"`           // "connection_refused", also a metric's label
	Reason   string `json:"reason"`         // what goes on after "because"
	Cure     string `json:"cure,omitempty"` // what to do about it
	Flags    string `json:"flags,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	// Transport is why the connection failed, in Envoy's words.
	Transport string `json:"transport,omitempty"`
}

// Explain says why the proxy has made the answer.
func Explain(a *Answer) Cause {
	rule := ruleOf(a)
	return Cause{
		Party: rule.party, Code: rule.code, Reason: filled(rule.reason, a), Cure: filled(rule.cure, a),
		Flags: a.Flags, Upstream: a.Upstream, Transport: a.Transport,
	}
}

// filled is a sentence with the names of an answer's members replaced by these.
func filled(sentence string, a *Answer) string {
	if !strings.Contains(sentence, "{") {
		return sentence
	}
	upstream, transport, obstacle := "the upstream", "", ""
	if a.Upstream != "" {
		upstream += " " + a.Upstream
	}
	if a.Transport != "" {
		transport = " (" + a.Transport + ")"
	}
	if a.Obstacle != "" {
		obstacle = ": " + a.Obstacle
	}
	return strings.NewReplacer(
		"{upstream}", upstream, "{transport}", transport, "{method}", a.Method, "{authority}", cmp.Or(a.Authority, "that the request names"),
		"{path}", a.Path, "{details}", a.Details, "{api}", a.API, "{obstacle}", obstacle, "{unresolved}", a.Unresolved,
	).Replace(sentence)
}

// IsUnserved reports whether the answer is of an API of which nothing runs.
func (a *Answer) IsUnserved() bool { return a.Status == 503 && a.API != "" && a.Operation == "503" }

func (a *Answer) hasFlag(flag string) bool {
	for rest, more := a.Flags, true; more; {
		var one string
		if one, rest, more = strings.Cut(rest, ","); one == flag {
			return true
		}
	}
	return false
}
