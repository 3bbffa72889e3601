package exchange

import (
	"net/http"
	"strings"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/sdk/policy/v1alpha"
)

// findOperation finds the operation of an exchange whose route is shared by the operations of an API, and changes the opening
// into that of a route of the operation's own. It returns nil for other routes, and if the table is unknown.
func (s *Server) findOperation(opening *Opening, front FrontEnd) *operations.Row {
	if !isShared(opening) {
		return nil
	}
	table := s.operations.Find(opening.ChainID)
	if table == nil {
		return nil
	}
	return enterOperation(table, opening, front, front.Request())
}

// enterOperation finds the operation of a request, and changes the opening into that of a route of the operation's own.
func enterOperation(table *operations.Table, opening *Opening, front FrontEnd, head chain.Head) *operations.Row {
	row := table.Find(&operations.Request{Method: head.Method, Path: head.Path, Scheme: head.Scheme, Authority: head.Authority, Headers: head.Headers})
	opening.Route, opening.ChainID = row.Route, row.ChainID
	front.SetRoute(row.Route)
	if !row.Websocket && head.Headers.Has("upgrade") { // the proxy removes the header unless it upgrades the connection
		opening.Refusal = http.StatusForbidden
	}
	return row
}

// isShared reports whether the opening's route has no operation in its name: API||TABLE_ID.
func isShared(opening *Opening) bool {
	before, found := strings.CutSuffix(opening.Route, opening.ChainID)
	return found && opening.ChainID != "" && strings.HasSuffix(before, "||")
}

// ownAnswer is the answer to a request as the proxy gives it on a route of its own: an engine that is asked makes no other.
func ownAnswer(a *operations.Answer, head chain.Head) chain.Answer {
	answer := chain.Answer{Status: a.Status, Details: a.Details}
	if a.Detail != "" {
		problem := chain.Problem(a.Status, a.Detail, head.RequestID)
		answer.Headers, answer.Body = v1alpha.Headers(problem.Headers), problem.Body
	}
	if a.Allow != "" {
		answer.Headers = append(answer.Headers, v1alpha.Header{Name: "allow", Value: a.Allow})
	}
	if a.UnescapeSlashes {
		location := a.Location(&operations.Request{Path: head.Path, Scheme: head.Scheme, Authority: head.Authority})
		answer.Headers = append(answer.Headers, v1alpha.Header{Name: "location", Value: location})
	}
	return answer
}
