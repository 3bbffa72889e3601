package v1alpha

import (
	"encoding/json"
	"sync"
)

// Peer is the identity of a client by its certificate, which one of the listener's authorities has signed.
// Behind a proxy it is the proxy's. It is read-only, and shared by all exchanges of the same certificate.
type Peer struct {
	// Subject is the certificate's, as RFC 4514 writes it: "CN=alice,O=Example\, Inc.". "" where it is empty.
	Subject string `json:"subject"`
	// Issuer is the subject of the authority that has signed the certificate.
	Issuer string `json:"issuer"`
	// DNSNames, URIs, EmailAddresses and IPAddresses are the subject's alternative names (RFC 5280, 4.2.1.6), in order,
	// each as it is written in the certificate; names of other kinds are left out.
	DNSNames       []string `json:"dnsNames"`
	URIs           []string `json:"uris"` // "spiffe://example.org/orders"
	EmailAddresses []string `json:"emailAddresses"`
	IPAddresses    []string `json:"ipAddresses"` // "10.0.0.1", "2001:db8::1"
	// Fingerprint is the SHA-256 of the certificate (DER) in lower-case hex, 64 digits.
	Fingerprint string `json:"fingerprint"`

	encoding sync.Once
	text     []byte
	err      error
}

// JSON returns the peer as a JSON object, made once. The caller must not change it.
func (p *Peer) JSON() ([]byte, error) {
	p.encoding.Do(func() { p.text, p.err = json.Marshal(p) })
	return p.text, p.err
}
