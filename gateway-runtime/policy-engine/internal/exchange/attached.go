package exchange

import (
	"context"
	"net/http"
	"strings"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/operations"
)

// NewAttachedServer makes a server for exchanges of other Envoys, whose routes name APIs of attachments. It never finds a
// chain by its id, and refuses what names no API.
func NewAttachedServer(table *chain.Table, attachments *operations.Attachments, observer Observer, watches *Watches) *Server {
	server := NewServer(table, nil, observer, watches)
	server.attachments = attachments
	return server
}

// unnormalized is the answer to a path that its Envoy has not normalized: the table and policies would read another path
// than the upstream.
var unnormalized = problem{http.StatusBadRequest, "The path has an empty, '.' or '..' segment, a backslash, or characters that are encoded unnecessarily.", "path_not_normalized"}

// findAttached finds the operation of an exchange by the name that its route has, and changes the opening into that of a route
// of the operation's own.
func (s *Server) findAttached(opening *Opening, front FrontEnd) (*operations.Row, *problem) {
	opening.ChainID = ""
	if opening.Outdated != "" {
		s.observer.AttachedRefused(RefusedAttached{opening.RequestID, opening.Route, OutdatedProxy, opening.Outdated})
		return nil, &problem{http.StatusServiceUnavailable, "The gateway is not ready for this route.", "outdated_proxy"}
	}
	table := s.attachments.Find(opening.Route)
	if table == nil {
		s.observer.AttachedRefused(RefusedAttached{opening.RequestID, opening.Route, UnknownName, ""})
		return nil, &problem{http.StatusServiceUnavailable, "The gateway is not ready for this route.", "unknown_attachment"}
	}
	head := front.Request()
	if !isNormalized(head.Path) {
		s.observer.AttachedRefused(RefusedAttached{opening.RequestID, opening.Route, UnnormalizedPath, ""})
		return nil, &unnormalized
	}
	return enterOperation(table, opening, front, head), nil
}

// pass lets a request of an operation without policies go on.
func pass(ctx context.Context, front FrontEnd) error {
	if err := front.SendHeaders(chain.Request, chain.Changes{}); err != nil {
		return err
	}
	return front.Finish(ctx)
}

// isNormalized reports whether the path, up to its query, is as Envoy's normalize_path and merge_slashes leave it: the node's
// own Envoy does both before it looks for a route.
func isNormalized(path string) bool {
	path, _, _ = strings.Cut(path, "?")
	if strings.ContainsAny(path, "\\#") || strings.Contains(path, "//") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	for rest := path; ; {
		at := strings.IndexByte(rest, '%')
		if at < 0 {
			return true
		}
		if rest = rest[at+1:]; len(rest) >= 2 && isUnreserved(unhex(rest[0])<<4|unhex(rest[1])) {
			return false
		}
	}
}

// unhex is the value of a hexadecimal digit; 0 for another byte.
func unhex(digit byte) byte {
	switch {
	case '0' <= digit && digit <= '9':
		return digit - '0'
	case 'a' <= digit|0x20 && digit|0x20 <= 'f':
		return digit | 0x20 - 'a' + 10
	}
	return 0
}

// isUnreserved reports whether a byte means the same whether or not it is encoded (RFC 3986, 2.3).
func isUnreserved(b byte) bool {
	return 'a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9' || strings.IndexByte("-._~", b) >= 0
}
