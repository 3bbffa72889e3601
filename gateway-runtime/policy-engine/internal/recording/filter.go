package recording

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Filter selects the exchanges to record: those that match all of its members. The zero value matches any exchange.
type Filter struct {
	API       string        `json:"api,omitempty"`
	Operation string        `json:"operation,omitempty"` // "GET /{id}"
	Policy    string        `json:"policy,omitempty"`    // name:version or a name
	Path      string        `json:"path,omitempty"`      // prefix of the client's path, without the query
	Header    *HeaderFilter `json:"header,omitempty"`
	Status    Statuses      `json:"status,omitempty"`
	Errors    bool          `json:"errors,omitempty"`
	Shadow    string        `json:"shadow,omitempty"` // outcome of an execution of a shadow attachment
	ID        string        `json:"id,omitempty"`
	Client    string        `json:"client,omitempty"` // address, with or without the port: "10.1.2.3", "[::1]:40112"
	Sample    *float64      `json:"sample,omitempty"` // nil: all that match
}

// HeaderFilter matches a header of the client's request. A nil Value matches any value.
type HeaderFilter struct {
	Name  string  `json:"name"`
	Value *string `json:"value,omitempty"`
}

// ParseFilter parses a filter from JSON; an empty text matches any exchange.
func ParseFilter(text []byte) (Filter, error) {
	var f Filter
	if len(bytes.TrimSpace(text)) == 0 {
		return f, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return f, fmt.Errorf("filter: expected an object with some of api, operation, policy, path, header, status, errors, shadow, id, client and sample: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return f, errors.New("filter: expected one JSON object, got more")
	}
	return f, f.check()
}

func (f *Filter) check() error {
	if f.Sample != nil && (*f.Sample < 0 || *f.Sample > 1) {
		return fmt.Errorf("filter: sample: expected a number from 0 to 1, got %v", *f.Sample)
	}
	if f.Shadow != "" && !slices.Contains(chain.ShadowOutcomes[:], f.Shadow) {
		return fmt.Errorf("filter: shadow: expected %s, got %q", strings.Join(chain.ShadowOutcomes[:], ", "), f.Shadow)
	}
	if f.Header != nil {
		if f.Header.Name == "" {
			return errors.New("filter: header: expected a name, got none")
		}
		f.Header.Name = strings.ToLower(f.Header.Name)
	}
	return nil
}

// Statuses are the matching statuses of answers; none: all. In JSON they are a text or a list of texts: "4xx", "503".
type Statuses []statusRange

type statusRange struct{ first, last int }

// UnmarshalJSON parses a text or a list of texts.
func (s *Statuses) UnmarshalJSON(text []byte) error {
	var list []string
	if text[0] == '"' {
		list = make([]string, 1)
		if err := json.Unmarshal(text, &list[0]); err != nil {
			return err
		}
	} else if err := json.Unmarshal(text, &list); err != nil {
		return errors.New(`status: expected "4xx", "503" or a list of such texts`)
	}
	*s = nil
	for _, status := range list {
		parsed, err := parseStatus(status)
		if err != nil {
			return err
		}
		*s = append(*s, parsed)
	}
	return nil
}

func parseStatus(text string) (statusRange, error) {
	if class, found := strings.CutSuffix(text, "xx"); found && len(class) == 1 && class >= "1" && class <= "5" {
		first := int(class[0]-'0') * 100
		return statusRange{first, first + 99}, nil
	}
	if number, err := strconv.Atoi(text); err == nil && number >= 100 && number <= 599 {
		return statusRange{number, number}, nil
	}
	return statusRange{}, fmt.Errorf(`status: expected "1xx" to "5xx" or a number from 100 to 599, got %q`, text)
}

// MarshalJSON returns a list.
func (s Statuses) MarshalJSON() ([]byte, error) {
	list := make([]string, len(s))
	for n, statuses := range s {
		list[n] = strconv.Itoa(statuses.first)
		if statuses.first != statuses.last {
			list[n] = strconv.Itoa(statuses.first/100) + "xx"
		}
	}
	return json.Marshal(list)
}

func (s Statuses) fit(status int) bool {
	return len(s) == 0 || slices.ContainsFunc(s, func(r statusRange) bool { return r.first <= status && status <= r.last })
}

// opening has the properties of an exchange that are known at its beginning.
type opening struct {
	id, api, operation, path string
	client                   string   // IP:PORT, "" if unknown
	policies                 []string // name:version
	headers                  v1alpha.Headers
}

// fitsOpening reports whether an exchange may match, by the properties known at its beginning.
func (f *Filter) fitsOpening(o *opening) bool {
	return (f.API == "" || f.API == o.api) &&
		(f.Operation == "" || f.Operation == o.operation) &&
		(f.ID == "" || f.ID == o.id) &&
		f.fitsClient(o.client) &&
		strings.HasPrefix(o.path, f.Path) &&
		(f.Policy == "" || slices.ContainsFunc(o.policies, f.fitsPolicy)) &&
		(f.Header == nil || f.Header.fits(o.headers))
}

func (f *Filter) fitsClient(client string) bool {
	if f.Client == "" || f.Client == client {
		return true
	}
	host, _, err := net.SplitHostPort(client)
	return err == nil && f.Client == host
}

func (f *Filter) fitsPolicy(policy string) bool {
	name, _, _ := strings.Cut(policy, ":")
	return f.Policy == policy || f.Policy == name
}

func (h *HeaderFilter) fits(headers v1alpha.Headers) bool {
	for value := range headers.Values(h.Name) {
		if h.Value == nil || *h.Value == value {
			return true
		}
	}
	return false
}

// ending has the properties of an exchange that are known once it and its shadows have ended.
type ending struct {
	status  int  // 0: no answer
	failed  bool // a policy or the exchange has failed
	shadows []string
}

// fitsEnd reports whether an exchange that matched at its beginning matches at its end.
func (f *Filter) fitsEnd(e *ending) bool {
	return f.Status.fit(e.status) && (!f.Errors || e.failed) && (f.Shadow == "" || slices.Contains(e.shadows, f.Shadow))
}

// fits reports whether a recorded exchange matches. The sample share is ignored: it was applied before recording.
func (f *Filter) fits(e *Exchange) bool {
	o := opening{id: e.ID, api: e.API, operation: e.Operation, policies: e.Policies}
	if e.Client != nil {
		o.client = e.Client.Address
	}
	if e.Request != nil {
		o.path = e.Request.Path
		for _, header := range e.Request.Headers {
			o.headers = append(o.headers, v1alpha.Header{Name: header[0], Value: header[1]})
		}
	}
	return f.fitsOpening(&o) && f.fitsEnd(&ending{e.status(), e.failed(), e.shadows()})
}

// shadows returns the outcomes of the executions of shadow attachments.
func (e *Exchange) shadows() (outcomes []string) {
	for n := range e.Executions {
		if x := &e.Executions[n]; x.Shadow {
			outcomes = append(outcomes, cmp.Or(x.Comparison, x.Outcome))
		}
	}
	return outcomes
}

func (e *Exchange) status() int {
	if e.Response == nil {
		return 0
	}
	return e.Response.Status
}

// failed reports whether a policy or the exchange has failed, or the status is 500 or above.
func (e *Exchange) failed() bool {
	return e.Outcome == outcomeFailed || e.status() >= 500 || e.Cause != nil && e.Cause.Party == proxyanswer.Upstream ||
		slices.ContainsFunc(e.Executions, func(x Execution) bool { return x.Failure != nil && !x.Shadow })
}
