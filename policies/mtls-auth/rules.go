package mtlsauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// rule is a rule in the parameters.
type rule struct {
	Subject        map[string]values `json:"subject"`
	Issuer         map[string]values `json:"issuer"`
	DNSNames       []string          `json:"dnsNames"`
	URIs           []string          `json:"uris"`
	EmailAddresses []string          `json:"emailAddresses"`
	IPAddresses    []string          `json:"ipAddresses"`
	Fingerprints   []string          `json:"fingerprints"`
}

// values are the values of an attribute.
type values []string

// UnmarshalJSON accepts a string instead of a list of one.
func (v *values) UnmarshalJSON(text []byte) error {
	var single string
	if err := json.Unmarshal(text, &single); err == nil {
		*v = values{single}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(v))
}

// nameTest reports whether a name matches one of the rule's names.
type nameTest func(name string) bool

// matcher is a compiled rule; parts that the rule does not name are nil.
type matcher struct {
	subject, issuer                       func(dn string) bool
	dnsName, uri, emailAddress, ipAddress nameTest
	fingerprint                           nameTest
}

// matches reports whether the certificate matches each part of the rule.
func (m matcher) matches(peer *v1alpha.Peer) bool {
	return (m.subject == nil || m.subject(peer.Subject)) &&
		(m.issuer == nil || m.issuer(peer.Issuer)) &&
		has(peer.DNSNames, m.dnsName) && has(peer.URIs, m.uri) &&
		has(peer.EmailAddresses, m.emailAddress) && has(peer.IPAddresses, m.ipAddress) &&
		(m.fingerprint == nil || m.fingerprint(peer.Fingerprint))
}

// mayMatch reports whether a certificate whose names could not be read may match the rule.
func (m matcher) mayMatch(peer *v1alpha.Peer) bool {
	return m.fingerprint == nil || m.fingerprint(peer.Fingerprint)
}

// hasUncertainNames reports whether the certificate's names could not be read: a readable certificate always has an issuer.
func hasUncertainNames(peer *v1alpha.Peer) bool {
	return peer.Subject == "" && peer.Issuer == "" &&
		len(peer.DNSNames)+len(peer.URIs)+len(peer.EmailAddresses)+len(peer.IPAddresses) == 0
}

func has(names []string, test nameTest) bool {
	return test == nil || slices.ContainsFunc(names, test)
}

func matchers(field string, rules []rule) ([]matcher, error) {
	if rules == nil {
		return nil, nil
	}
	result := make([]matcher, 0, len(rules))
	for n, spec := range rules {
		addresses, err := networks(spec.IPAddresses)
		if err != nil {
			return nil, fmt.Errorf("%s[%d].ipAddresses%w", field, n, err)
		}
		result = append(result, matcher{
			subject: matchAttributes(spec.Subject), issuer: matchAttributes(spec.Issuer), dnsName: dnsNames(spec.DNSNames), uri: uris(spec.URIs),
			emailAddress: matchAny(spec.EmailAddresses, hostInLowerCase), ipAddress: addresses,
			fingerprint: matchAny(spec.Fingerprints, func(text string) string { return strings.ToLower(strings.ReplaceAll(text, ":", "")) }),
		})
	}
	return result, nil
}

// matchAny returns a test whether a name equals one of the texts in normal form; nil if texts is nil.
func matchAny(texts []string, normal func(string) string) nameTest {
	if texts == nil {
		return nil
	}
	normalized := map[string]bool{}
	for _, text := range texts {
		normalized[normal(text)] = true
	}
	return func(name string) bool { return normalized[normal(name)] }
}

// hostInLowerCase keeps the case of the local part, which may be significant (RFC 5321, 2.4).
func hostInLowerCase(address string) string {
	at := strings.LastIndexByte(address, '@')
	return address[:at+1] + strings.ToLower(address[at+1:])
}

func dnsNames(texts []string) nameTest {
	exact := matchAny(texts, strings.ToLower)
	if exact == nil {
		return nil
	}
	return func(name string) bool {
		first, rest, ok := strings.Cut(name, ".")
		return exact(name) || ok && first != "" && exact("*."+rest)
	}
}

// uris returns a test that compares exactly, or segment by segment for a pattern with "*". A "*" does not match dot segments,
// since a reader that takes the URI as a path would resolve them.
func uris(texts []string) nameTest {
	if texts == nil {
		return nil
	}
	exact := map[string]bool{}
	var patterns [][]string
	for _, text := range texts {
		if strings.Contains(text, "*") {
			patterns = append(patterns, strings.Split(text, "/"))
		} else {
			exact[text] = true
		}
	}
	return func(name string) bool {
		return exact[name] || slices.ContainsFunc(patterns, func(pattern []string) bool { return matchSegments(pattern, strings.Split(name, "/")) })
	}
}

func matchSegments(pattern, segments []string) bool {
	return slices.EqualFunc(pattern, segments, func(want, got string) bool {
		return want == got || want == "*" && got != "" && got != "." && got != ".."
	})
}

func networks(texts []string) (nameTest, error) {
	if texts == nil {
		return nil, nil
	}
	prefixes := make([]netip.Prefix, 0, len(texts))
	for n, text := range texts {
		prefix, err := network(text)
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w, got %q", n, err, text)
		}
		prefixes = append(prefixes, prefix)
	}
	return func(name string) bool {
		address, err := netip.ParseAddr(name)
		return err == nil && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(address.Unmap()) })
	}, nil
}

func network(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("expected an address like 192.0.2.7, or a network like 10.0.0.0/8 or 2001:db8::/32")
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("expected no bits below the prefix, such as %s", prefix.Masked())
	}
	return prefix, nil
}
