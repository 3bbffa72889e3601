package chain

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// refusedNames are the headers that belong to one connection (RFC 9110, 7.6.1), and those that are set another way.
var refusedNames = [...]struct{ name, reason string }{
	{"connection", "it belongs to one connection"},
	{"keep-alive", "it belongs to one connection"},
	{"proxy-connection", "it belongs to one connection"},
	{"te", "it belongs to one connection"},
	{"trailer", "it belongs to one connection"},
	{"transfer-encoding", "it belongs to one connection"},
	{"upgrade", "it belongs to one connection"},
	{"content-length", "the gateway computes it from the body"},
	{"host", "use authority"},
}

func checkRequest(m *v1alpha.UpstreamRequestModifications, apiContext string, upstreams []string) error {
	if err := checkHeaders(m.Headers, true); err != nil {
		return err
	}
	if m.Path != nil {
		if err := checkPath(*m.Path, apiContext); err != nil {
			return err
		}
	}
	if m.Query != nil && strings.ContainsFunc(*m.Query, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }) {
		return fmt.Errorf("query: expected ASCII, no space, control character or #, got %q; percent-encode it", *m.Query)
	}
	if m.Method != nil && (!isToken(*m.Method) || strings.EqualFold(*m.Method, "CONNECT")) {
		return fmt.Errorf("method: expected a token (RFC 9110, 9.1) other than CONNECT, got %q", *m.Method)
	}
	if m.Authority != nil && !isAuthority(*m.Authority) {
		return fmt.Errorf("authority: expected host or host:port, got %q", *m.Authority)
	}
	if m.Upstream != nil && !slices.Contains(upstreams, *m.Upstream) {
		return fmt.Errorf("upstream: expected one of the API's (%s), got %q", strings.Join(upstreams, ", "), *m.Upstream)
	}
	for _, part := range [...]struct {
		name  string
		value *string
	}{{"query", m.Query}, {"authority", m.Authority}} {
		if part.value != nil && len(*part.value) > maxTargetBytes {
			return tooLong(part.name, *part.value)
		}
	}
	return checkAnalytics(m.AnalyticsMetadata)
}

func checkResponse(m *v1alpha.UpstreamResponseModifications) error {
	if err := checkHeaders(m.Headers, false); err != nil {
		return err
	}
	if m.StatusCode != 0 {
		if err := checkStatus(m.StatusCode); err != nil {
			return err
		}
	}
	return checkAnalytics(m.AnalyticsMetadata)
}

func checkImmediate(r *v1alpha.ImmediateResponse) error {
	if err := checkStatus(r.StatusCode); err != nil {
		return err
	}
	if err := checkHeaders(v1alpha.HeaderModifications{Set: r.Headers}, false); err != nil {
		return err
	}
	if reason := exceededHeaderLimit(r.Headers, 0, maxPolicyLines, maxPolicyBytes); reason != "" {
		return errors.New(reason)
	}
	return checkAnalytics(r.AnalyticsMetadata)
}

func checkStatus(status int) error {
	if status < 200 || status > 599 {
		return fmt.Errorf("status: expected 200–599, got %d", status)
	}
	return nil
}

func checkHeaders(m v1alpha.HeaderModifications, request bool) error {
	for _, name := range m.Remove {
		if err := checkName(name, request); err != nil {
			return err
		}
	}
	for _, headers := range [...][]v1alpha.Header{m.Set, m.Append} {
		for _, header := range headers {
			if err := checkHeader(header, request); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkHeader(header v1alpha.Header, request bool) error {
	if err := checkName(header.Name, request); err != nil {
		return err
	}
	if hasControl(header.Value) { // the value is not quoted: it may be a credential
		return fmt.Errorf("header %q: expected a value without control characters, but tabs, got one with such", header.Name)
	}
	return nil
}

// hasControl reports characters that no header may have (RFC 9110, 5.5): Envoy fails the exchange for them, without a
// log line.
func hasControl(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func checkName(name string, request bool) error {
	if !isToken(name) {
		return fmt.Errorf("header %q: expected a name that is a token (RFC 9110, 5.6.2)", name)
	}
	for _, refused := range refusedNames {
		if strings.EqualFold(name, refused.name) {
			return fmt.Errorf("header %q: policies cannot change it: %s", name, refused.reason)
		}
	}
	if hasPrefixFold(name, "x-gatewright-") {
		return fmt.Errorf("header %q: policies cannot change it: x-gatewright-* is the gateway's own", name)
	}
	if request && hasPrefixFold(name, "x-envoy-") {
		return fmt.Errorf("header %q: policies cannot change it: x-envoy-* steers the proxy", name)
	}
	return nil
}

// hasPrefixFold is strings.HasPrefix without regard to case, for a prefix in ASCII.
func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}

func isToken(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}

func isAlphanumeric(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

func isAuthority(authority string) bool {
	for i := range len(authority) {
		if c := authority[i]; c <= ' ' || c >= 0x7f || strings.ContainsRune(`/?#@\"<>^{|},;`+"`", rune(c)) {
			return false
		}
	}
	return authority != ""
}

// checkPath keeps a path under the API's context, even for an upstream that decodes it, resolves dot segments, cuts
// parameters off or trims blanks.
func checkPath(path, apiContext string) error {
	if len(path) > maxTargetBytes {
		return tooLong("path", path)
	}
	if !isUnder(path, apiContext) {
		return fmt.Errorf("path: expected one under the API's context %q, got %q", apiContext, path)
	}
	if !isPath(path) {
		return fmt.Errorf("path: expected segments of ASCII, no space, control character, ? or #, and none empty, got %q; percent-encode all but pchar (RFC 3986, 3.3), and use query", path)
	}
	if hasDotSegment(path) {
		return fmt.Errorf("path: expected no dot segments, got %q", path)
	}
	return nil
}

func tooLong(name, value string) error {
	return fmt.Errorf("%s: expected at most %d bytes, got %d", name, maxTargetBytes, len(value))
}

// inPaths is pchar (RFC 3986, 3.3) except for letters, digits and percent signs, with brackets, which Envoy accepts
// too.
const inPaths = "-._~!$&'()*+,;=:@[]"

func isPath(path string) bool {
	for i := range len(path) {
		var good bool
		switch c := path[i]; c {
		case '/':
			good = !strings.HasPrefix(path[i+1:], "/")
		case '%':
			good = isEncoded(path[i+1:])
		default:
			good = isAlphanumeric(c) || strings.IndexByte(inPaths, c) >= 0
		}
		if !good {
			return false
		}
	}
	return true
}

// isEncoded reports whether digits begins with those of an encoded octet other than NUL, at which some upstreams stop.
func isEncoded(digits string) bool {
	octet, err := strconv.ParseUint(digits[:min(2, len(digits))], 16, 8)
	return err == nil && octet != 0 && len(digits) >= 2
}

func hasDotSegment(path string) bool {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return true
	}
	for segment := range strings.SplitSeq(strings.ReplaceAll(decoded, `\`, "/"), "/") {
		name, _, _ := strings.Cut(segment, ";")
		name = strings.TrimFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f })
		if name == "." || name == ".." {
			return true
		}
	}
	return false
}

func isUnder(path, apiContext string) bool {
	apiContext = strings.TrimSuffix(apiContext, "/")
	rest, ok := strings.CutPrefix(path, apiContext)
	return ok && (strings.HasPrefix(rest, "/") || rest == "" && apiContext != "")
}

func checkAnalytics(metadata map[string]any) error {
	if len(metadata) == 0 {
		return nil
	}
	if _, err := json.Marshal(metadata); err != nil {
		return fmt.Errorf("analytics metadata: expected JSON values: %w", err)
	}
	return nil
}

func isGRPC(headers v1alpha.Headers) bool {
	rest, ok := strings.CutPrefix(headers.Get("content-type"), "application/grpc")
	return ok && (rest == "" || slices.Contains([]byte("+; "), rest[0]))
}
