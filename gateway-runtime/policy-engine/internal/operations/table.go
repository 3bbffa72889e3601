// Package operations finds the operation of a request on a route that all operations of an API share. It matches requests
// as Envoy's routes do (https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto), so that
// an API behaves alike whether its operations share a route or have routes of their own.
package operations

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unique"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Request is what a table looks at. Path has the query.
type Request struct {
	Method, Path, Scheme, Authority string
	Headers                         v1alpha.Headers
}

// Table has the rows of an API, in order of precedence. It is immutable.
type Table struct {
	ID    string
	paths []pathMatcher
	rows  []Row

	attached bool // routes of other Envoys lead to it
}

// Row is what becomes of the requests that it matches.
type Row struct {
	Route     string // the name that a route of its own would have: API|OPERATION|CHAIN_ID
	ChainID   string // "": no policy runs
	Answer    *Answer
	Websocket bool // a connection may be upgraded to a WebSocket

	path      int32 // index in the table's paths
	operation string
	methods   methodMatcher
	values    *rowValues // nil: the row matches any, as most rows do
}

// rowValues are what the headers and the query of a row's requests have.
type rowValues struct{ headers, query []valueMatcher }

// Answer is given by the gateway once the chain has passed the request on.
type Answer struct {
	Status          int
	Detail          string // of the problem (RFC 9457); "": no body
	Allow           string // "": no such header
	UnescapeSlashes bool   // Location is the request's URL with a slash in the place of each escaped one
	Details         string // for the access log, as Envoy would have them
}

// Find returns the first row that matches the request.
func (t *Table) Find(r *Request) *Row {
	path, _, _ := strings.Cut(r.Path, "?")
	tried, matched := int32(-1), false // the rows of a path stand together
	for n := range t.rows {
		row := &t.rows[n]
		if row.path != tried {
			tried, matched = row.path, t.paths[row.path].matches(path)
		}
		if matched && row.methods.matches(r.Method) && row.hasValues(r) {
			return row
		}
	}
	return &t.rows[len(t.rows)-1] // which matches every request
}

func (row *Row) hasValues(r *Request) bool { return row.values == nil || row.values.match(r) }

func (v *rowValues) match(r *Request) bool {
	for n := range v.headers {
		if !v.headers[n].matchesHeader(r) {
			return false
		}
	}
	for n := range v.query {
		if !v.query[n].matchesQuery(r.Path) {
			return false
		}
	}
	return true
}

// isLast reports whether the row matches every request.
func (t *Table) isLast(row *Row) bool {
	return t.paths[row.path].kind == anyPath && row.methods.isAny() && row.values == nil
}

// NewAttachedTable is NewTable for an API that routes of other Envoys name: an operation may have no chain, for its requests
// come here all the same.
func NewAttachedTable(api string, message *nodev1.OperationTable, strict bool) (*Table, error) {
	return newTable(&Table{ID: message.GetId(), attached: true}, api, message, strict)
}

// NewTable makes the table of a bundle's message. With strict, the first row refuses paths that upstreams read in different
// ways, else it takes those with escaped slashes. The error lists every mistake with its place.
func NewTable(api string, message *nodev1.OperationTable, strict bool) (*Table, error) {
	return newTable(&Table{ID: message.GetId()}, api, message, strict)
}

func newTable(t *Table, api string, message *nodev1.OperationTable, strict bool) (*Table, error) {
	var errs []error
	if t.ID == "" {
		errs = append(errs, errors.New("id: expected one, got none"))
	}
	t.paths, t.rows = make([]pathMatcher, 0, len(message.GetPaths())), make([]Row, 0, len(message.GetRows()))
	for n, path := range message.GetPaths() {
		matcher, err := newPathMatcher(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("paths[%d]: %w", n, err))
		}
		t.paths = append(t.paths, matcher)
	}
	for n, row := range message.GetRows() {
		made, err := t.newRow(api, row)
		if err != nil {
			errs = append(errs, fmt.Errorf("rows[%d] %q: %w", n, row.GetOperation(), err))
		}
		t.rows = append(t.rows, made)
	}
	if len(message.GetRows()) == 0 {
		errs = append(errs, errors.New("rows: expected some, got none"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := errors.Join(checkFirst(message, strict), t.checkLast()); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Table) newRow(api string, message *nodev1.OperationRow) (Row, error) {
	route := strings.Join([]string{api, message.GetOperation(), message.GetChain()}, envoynames.RouteNameSeparator)
	operation := route[len(api)+len(envoynames.RouteNameSeparator):] // parts of the route, so that the message's texts can go
	row := Row{
		Route: route, ChainID: route[len(route)-len(message.GetChain()):], Websocket: message.GetWebsocket(), Answer: newAnswer(message.GetAnswer()),
		operation: operation[:len(message.GetOperation())], path: int32(min(message.GetPath(), math.MaxInt32)), methods: newMethodMatcher(message),
	}
	var errs [3]error
	if int(row.path) >= len(t.paths) {
		return row, fmt.Errorf("path: expected an index below %d, got %d", len(t.paths), row.path)
	}
	if row.ChainID == "" && row.Answer == nil && !t.attached {
		errs[0] = errors.New("chain: expected one, since without policies a request does not come here")
	}
	var values rowValues
	values.headers, errs[1] = newValueMatchers("headers", message.GetHeaders())
	values.query, errs[2] = newValueMatchers("query", message.GetQuery())
	if len(values.headers)+len(values.query) > 0 {
		row.values = &values
	}
	return row, errors.Join(errs[:]...)
}

func newAnswer(message *nodev1.OwnAnswer) *Answer {
	if message == nil {
		return nil
	}
	return &Answer{Status: int(message.GetStatus()), Detail: shared(message.GetDetail()), Allow: shared(message.GetAllow()),
		UnescapeSlashes: message.GetUnescapeSlashes(), Details: shared(message.GetDetails())}
}

// shared returns an equal text that the rows of all APIs share.
func shared(text string) string { return unique.Make(text).Value() }

// checkFirst holds the first row to taking the paths that no operation may: with strict all that upstreams read in different
// ways, else those with escaped slashes, since upstream would decode another path than the one whose policies have run.
func checkFirst(message *nodev1.OperationTable, strict bool) error {
	want := envoynames.EscapedSlashPathPattern
	if strict {
		want = envoynames.DoubtfulPathPattern
	}
	first := message.GetRows()[0]
	narrowed := len(first.GetMethods())+len(first.GetHeaders())+len(first.GetQuery()) > 0 || first.GetOtherMethods()
	if got := message.GetPaths()[first.GetPath()].GetRegex(); got != want || narrowed || first.GetAnswer() == nil {
		return fmt.Errorf("rows[0]: expected an answer to all requests whose path matches %s, got %v", want, first)
	}
	return nil
}

func (t *Table) checkLast() error {
	last := &t.rows[len(t.rows)-1]
	if !t.isLast(last) || last.Answer == nil {
		return fmt.Errorf("rows[%d]: expected an answer to every request that no other row matches, got %s", len(t.rows)-1, last.Route)
	}
	return nil
}

// Operations returns the names of the operations that go to an upstream, in the order of their rows.
func (t *Table) Operations() []string {
	if t == nil {
		return nil
	}
	var names []string
	for n := range t.rows {
		row := &t.rows[n]
		if row.Answer != nil {
			continue
		}
		if len(names) == 0 || names[len(names)-1] != row.operation {
			names = append(names, row.operation)
		}
	}
	return names
}

// Chains returns the ids of the rows' chains, sorted.
func (t *Table) Chains() []string {
	var ids []string
	for n := range t.rows {
		if id := t.rows[n].ChainID; id != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Location returns where the answer sends the client of a request.
func (a *Answer) Location(r *Request) string {
	path, query, found := strings.Cut(r.Path, "?")
	location := r.Scheme + "://" + r.Authority + escapedSlash.ReplaceAllLiteralString(path, "/")
	if found {
		location += "?" + query
	}
	return location
}
