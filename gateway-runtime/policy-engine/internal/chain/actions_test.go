package chain

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

// actionTable is conformance/actions.json, which applies to Python policies as well.
type actionTable struct{ Taken, Refused []actionCase }

type actionCase struct {
	Name   string
	Hook   string // onRequest, onResponse
	Action actionScript
}

// actionScript is an action as conformance/README.md describes it.
type actionScript struct {
	Kind                           string // modify, answer
	SetHeaders, AppendHeaders      [][2]scriptText
	RemoveHeaders                  []string
	ManyHeaders                    struct{ Lines, Bytes int }
	Path, Query, Method, Authority *scriptText
	Upstream                       *scriptText
	Attempts                       []attemptScript
	StatusCode                     int
	Body                           *scriptText
	Analytics                      map[string]any
}

// attemptScript is one of the attempts of an action.
type attemptScript struct {
	Upstream   string
	SetHeaders [][2]scriptText
	Path, Body *scriptText
}

// scriptText is a string, or {of: string, times: how often}.
type scriptText string

func (s *scriptText) UnmarshalJSON(raw []byte) error {
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		*s = scriptText(plain)
		return nil
	}
	var repeated struct {
		Of    string
		Times int
	}
	err := json.Unmarshal(raw, &repeated)
	*s = scriptText(strings.Repeat(repeated.Of, repeated.Times))
	return err
}

func (a actionScript) set() []v1alpha.Header {
	set := scriptHeaders(a.SetHeaders)
	for number := range a.ManyHeaders.Lines {
		set = append(set, v1alpha.Header{Name: fmt.Sprintf("x-line-%d", number), Value: strings.Repeat("v", a.ManyHeaders.Bytes)})
	}
	return set
}

func (a actionScript) attempts() []v1alpha.Attempt {
	var attempts []v1alpha.Attempt
	for _, script := range a.Attempts {
		attempt := v1alpha.Attempt{Upstream: script.Upstream, Set: scriptHeaders(script.SetHeaders), Path: (*string)(script.Path)}
		if script.Body != nil {
			body := []byte(latin1(string(*script.Body)))
			attempt.Body = &body
		}
		attempts = append(attempts, attempt)
	}
	return attempts
}

func scriptHeaders(lines [][2]scriptText) []v1alpha.Header {
	var headers []v1alpha.Header
	for _, line := range lines {
		headers = append(headers, v1alpha.Header{Name: string(line[0]), Value: latin1(string(line[1]))})
	}
	return headers
}

// refusal is the chain's verdict on the action, for a message with one header.
func (c actionCase) refusal() error {
	a := c.Action
	if a.Kind == "answer" {
		return checkImmediate(&v1alpha.ImmediateResponse{StatusCode: a.StatusCode, Headers: a.set(), AnalyticsMetadata: a.Analytics})
	}
	headers := v1alpha.HeaderModifications{Set: a.set(), Append: scriptHeaders(a.AppendHeaders), Remove: a.RemoveHeaders}
	err := checkResponse(&v1alpha.UpstreamResponseModifications{Headers: headers, StatusCode: a.StatusCode, AnalyticsMetadata: a.Analytics})
	if c.Hook == "onRequest" {
		modifications := &v1alpha.UpstreamRequestModifications{
			Headers: headers, AnalyticsMetadata: a.Analytics,
			Path: (*string)(a.Path), Query: (*string)(a.Query), Method: (*string)(a.Method), Authority: (*string)(a.Authority),
			Upstream: (*string)(a.Upstream), Attempts: a.attempts(),
		}
		failover := &Chain{spec: Spec{Context: "/orders", Upstreams: []string{"main", "canary"}, Failover: true}}
		if err = checkRequest(modifications, failover.spec.Context, failover.spec.Upstreams); err == nil {
			err = failover.checkAttempts(modifications)
		}
	}
	if err != nil {
		return err
	}
	list := newHeaderList(v1alpha.Headers{{Name: "x-client", Value: "1"}})
	list.apply(headers)
	return list.checkSize()
}

func TestActionsAreAcceptedOrRefusedAsInTheTable(t *testing.T) {
	text, err := os.ReadFile("../../../../conformance/actions.json")
	if err != nil {
		t.Fatal(err)
	}
	var table actionTable
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	if len(table.Taken) == 0 || len(table.Refused) == 0 {
		t.Fatal("expected actions of both kinds, got none")
	}
	for _, c := range table.Taken {
		if err := c.refusal(); err != nil {
			t.Errorf("%s: expected it to be taken, got %v", c.Name, err)
		}
	}
	for _, c := range table.Refused {
		if c.refusal() == nil {
			t.Errorf("%s: expected it to be refused", c.Name)
		}
	}
}
