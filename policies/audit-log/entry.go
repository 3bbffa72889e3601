package auditlog

import (
	"bytes"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

const (
	timeForm = "2006-01-02T15:04:05.000000Z"
	redacted = "[redacted]"
)

// entry is a line; its fields are in the order of the JSON members.
type entry struct {
	Time       string `json:"time"`
	Event      string `json:"event"` // request: before the request goes upstream; response: the exchange has ended
	RequestID  string `json:"requestId"`
	API        string `json:"api"`
	APIVersion string `json:"apiVersion"`
	Operation  string `json:"operation"`
	// The client: as identified by a policy, by the connection, by the certificate.
	Subject     string `json:"subject,omitempty"`
	Issuer      string `json:"issuer,omitempty"`
	Client      string `json:"client"`
	PeerSubject string `json:"peerSubject,omitempty"`
	Peer        string `json:"peer,omitempty"` // the certificate's fingerprint

	Method          string              `json:"method"`
	Path            string              `json:"path"`
	Status          int                 `json:"status,omitempty"`
	Outcome         string              `json:"outcome,omitempty"` // ok, denied, refused, failed
	RequestHeaders  map[string][]string `json:"requestHeaders,omitempty"`
	ResponseHeaders map[string][]string `json:"responseHeaders,omitempty"`
	Chain           *link               `json:"chain,omitempty"`
}

// encode returns the entry as a line. No byte of a request can end it early: JSON escapes control characters.
func (e *entry) encode() ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(e)
	return line.Bytes(), err
}

// recorder creates the entries of exchanges.
type recorder struct {
	secret                          names
	requestHeaders, responseHeaders []string // names of the headers to record
}

func (r recorder) request(req *v1alpha.RequestContext) *entry {
	e := r.newEntry(req)
	e.Event = "request"
	return e
}

func (r recorder) response(res *v1alpha.ResponseContext) *entry {
	e := r.newEntry(res.Request)
	e.Event, e.Status, e.Outcome = "response", res.StatusCode, outcome(res.StatusCode)
	e.ResponseHeaders = r.headers(res.Headers, r.responseHeaders)
	return e
}

func (r recorder) newEntry(req *v1alpha.RequestContext) *entry {
	e := &entry{
		Time: time.Now().UTC().Format(timeForm), RequestID: req.RequestID,
		API: req.APIName, APIVersion: req.APIVersion, Operation: req.Operation,
		Client: address(req.ClientAddress), Method: req.Method, Path: req.Path,
		RequestHeaders: r.headers(req.Headers, r.requestHeaders),
	}
	e.Subject, e.Issuer = identity(req.Metadata)
	if req.Peer != nil {
		e.PeerSubject, e.Peer = req.Peer.Subject, req.Peer.Fingerprint
	}
	return e
}

func (r recorder) headers(headers v1alpha.Headers, listed []string) map[string][]string {
	result := map[string][]string{}
	for _, name := range listed {
		name = strings.ToLower(name)
		for value := range headers.Values(name) {
			if r.secret.has(name) {
				value = redacted
			}
			result[name] = append(result[name], value)
		}
	}
	return result
}

// identity returns the client that an earlier policy has identified: ctx.identity in Python.
func identity(metadata *v1alpha.ExchangeMetadata) (subject, issuer string) {
	value, _ := metadata.Get("identity")
	members, _ := value.(map[string]any)
	subject, _ = members["subject"].(string)
	issuer, _ = members["issuer"].(string)
	return subject, issuer
}

// address returns the client's address without its port.
func address(client string) string {
	host, _, err := net.SplitHostPort(client)
	if err != nil {
		return client
	}
	return host
}

func outcome(status int) string {
	switch {
	case status == 401 || status == 403:
		return "denied"
	case status >= 500:
		return "failed"
	case status >= 400:
		return "refused"
	}
	return "ok"
}

// names is a set of names, which are compared without case, "-" and "_". A name that ends in "*" matches by prefix.
type names struct {
	exact    map[string]bool
	prefixes []string
}

func newNames(listed []string) names {
	n := names{exact: map[string]bool{}}
	for _, name := range listed {
		if prefix, any := strings.CutSuffix(name, "*"); any {
			n.prefixes = append(n.prefixes, normalize(prefix))
		} else {
			n.exact[normalize(name)] = true
		}
	}
	return n
}

func (n names) has(name string) bool {
	name = normalize(name)
	return n.exact[name] || slices.ContainsFunc(n.prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

var separators = strings.NewReplacer("-", "", "_", "")

func normalize(name string) string { return separators.Replace(strings.ToLower(name)) }
