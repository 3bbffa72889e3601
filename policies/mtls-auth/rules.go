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

// rule is what a publisher writes.
type rule struct {
	Subject        map[string]values `json:"subject"`
	Issuer         map[string]values `json:"issuer"`
	DNSNames       []string          `json:"dnsNames"`
	URIs           []string          `json:"uris"`
	EmailAddresses []string          `json:"emailAddresses"`
	IPAddresses    []string          `json:"ipAddresses"`
	Fingerprints   []string          `json:"fingerprints"`
}

// values are one text, or several.
type values []string

// UnmarshalJSON takes a text for a list of one.
func (v *values) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		*v = values{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(v))
}

// test says whether a name is one of a rule's.
type test func(name string) bool

// matcher is a rule, made ready; what it does not name is nil.
type matcher struct {
	subject, issuer                       func(dn string) bool
	dnsName, uri, emailAddress, ipAddress test
	fingerprint                           test
}

// fits reports whether the certificate has something of each kind that the rule names.
func (m matcher) fits(peer *v1alpha.Peer) bool {
	return (m.subject == nil || m.subject(peer.Subject)) &&
		(m.issuer == nil || m.issuer(peer.Issuer)) &&
		has(peer.DNSNames, m.dnsName) && has(peer.URIs, m.uri) &&
		has(peer.EmailAddresses, m.emailAddress) && has(peer.IPAddresses, m.ipAddress) &&
		(m.fingerprint == nil || m.fingerprint(peer.Fingerprint))
}

// mayFit reports the same of one whose names are not certain.
func (m matcher) mayFit(peer *v1alpha.Peer) bool {
	return m.fingerprint == nil || m.fingerprint(peer.Fingerprint)
}

// isUnread reports whether nobody knows what names the certificate has: every one that can be read has an issuer's.
func isUnread(peer *v1alpha.Peer) bool {
	return peer.Subject == "" && peer.Issuer == "" &&
		len(peer.DNSNames)+len(peer.URIs)+len(peer.EmailAddresses)+len(peer.IPAddresses) == 0
}

func has(names []string, named test) bool { return named == nil || slices.ContainsFunc(names, named) }

func matchers(field string, rules []rule) ([]matcher, error) {
	if rules == nil {
		return nil, nil
	}
	made := make([]matcher, 0, len(rules))
	for n, each := range rules {
		addresses, err := networks(each.IPAddresses)
		if err != nil {
			return nil, fmt.Errorf("%s[%d].ipAddresses%w", field, n, err)
		}
		made = append(made, matcher{
			subject: attributes(each.Subject), issuer: attributes(each.Issuer), dnsName: dnsNames(each.DNSNames), uri: uris(each.URIs),
			emailAddress: oneOf(each.EmailAddresses, hostInLowerCase), ipAddress: addresses,
			fingerprint: oneOf(each.Fingerprints, func(text string) string { return strings.ToLower(strings.ReplaceAll(text, ":", "")) }),
		})
	}
	return made, nil
}

// oneOf compares names once both have their normal form.
func oneOf(texts []string, normal func(string) string) test {
	if texts == nil {
		return nil
	}
	known := map[string]bool{}
	for _, text := range texts {
		known[normal(text)] = true
	}
	return func(name string) bool { return known[normal(name)] }
}

// hostInLowerCase: the case of what stands before the host may mean something (RFC 5321, 2.4).
func hostInLowerCase(address string) string {
	at := strings.LastIndexByte(address, '@')
	return address[:at+1] + strings.ToLower(address[at+1:])
}

func dnsNames(texts []string) test {
	exact := oneOf(texts, strings.ToLower)
	if exact == nil {
		return nil
	}
	return func(name string) bool {
		first, rest, found := strings.Cut(name, ".")
		return exact(name) || found && first != "" && exact("*."+rest)
	}
}

// uris compares letter by letter, and segment by segment where a pattern has a "*". Dots could lead out again, to whoever
// reads them as a path, and so are no segment that a "*" takes.
func uris(texts []string) test {
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
		return exact[name] || slices.ContainsFunc(patterns, func(pattern []string) bool { return takes(pattern, strings.Split(name, "/")) })
	}
}

func takes(pattern, segments []string) bool {
	return slices.EqualFunc(pattern, segments, func(wanted, got string) bool {
		return wanted == got || wanted == "*" && got != "" && got != "." && got != ".."
	})
}

func networks(texts []string) (test, error) {
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
