// Package proxyanswer explains answers that the proxy has made by itself: the party that caused one, the reason, and
// the cure. It knows them by Envoy's response flags and response code details.
package proxyanswer

import (
	"cmp"
	"strings"
)

// Answer describes an answer that the proxy has made by itself.
type Answer struct {
	Status    int
	Flags     string // Envoy's response flags, joined by commas: "UF,URX"; "": none
	Details   string // Envoy's response code details: "no_healthy_upstream"
	Upstream  string // ip:port of the last target that was tried; "": none
	Transport string // why the connection to it failed, in Envoy's words; "": it did not, or unknown

	Method, Authority, Path string // of the request; Path without the query
	API, Operation          string // of the route; "": no route matched

	Obstacle   string // why no chain of the API runs, for an answer that IsUnserved; "": unknown
	Unresolved string // the name of the API's upstream that does not resolve, if that is the reason
}

// Party is the party that caused an answer.
type Party string

// The parties.
const (
	Client   Party = "client"   // the gateway does not accept the request
	Upstream Party = "upstream" // the target, or the way to it
	Gateway  Party = "gateway"  // its configuration, by the operator or the API's publisher, or its own state
)

// Cause is the reason that the proxy has answered by itself.
type Cause struct {
	Party    Party  `json:"party"`
	Code     string `json:"code"`           // "connection_refused", also a metric's label
	Reason   string `json:"reason"`         // the clause after "because"
	Cure     string `json:"cure,omitempty"` // how to fix it
	Flags    string `json:"flags,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	// Transport is why the connection failed, in Envoy's words.
	Transport string `json:"transport,omitempty"`
}

// Explain returns the cause of the answer.
func Explain(a *Answer) Cause {
	rule := ruleOf(a)
	return Cause{
		Party: rule.party, Code: rule.code, Reason: fillIn(rule.reason, a), Cure: fillIn(rule.cure, a),
		Flags: a.Flags, Upstream: a.Upstream, Transport: a.Transport,
	}
}

// fillIn replaces the placeholders in a sentence by the answer's fields.
func fillIn(sentence string, a *Answer) string {
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

// IsUnserved reports whether the answer is for an API of which no chain runs.
func (a *Answer) IsUnserved() bool { return a.Status == 503 && a.API != "" && a.Operation == "503" }

func (a *Answer) hasFlag(flag string) bool {
	for rest, more := a.Flags, true; more; {
		var first string
		if first, rest, more = strings.Cut(rest, ","); first == flag {
			return true
		}
	}
	return false
}
