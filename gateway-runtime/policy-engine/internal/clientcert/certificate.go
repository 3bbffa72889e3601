// Package clientcert makes a v1alpha.Peer of a client's certificate. It does not verify the certificate: the
// proxy has done that.
package clientcert

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"

	"gatewright.dev/sdk/policy/v1alpha"
)

// errNoCertificate does not quote the text received: it goes to a log.
var errNoCertificate = errors.New("client certificate: expected a URL-encoded PEM certificate")

// Read parses a certificate in the form of Envoy's %DOWNSTREAM_PEER_CERT%: PEM, URL-encoded.
//
// For a certificate that breaks RFC 5280 so that its names are not certain, it returns a peer with the fingerprint
// alone, and an error with the reason. For a text without a certificate it returns an error and no peer.
func Read(encoded string) (*v1alpha.Peer, error) {
	text, err := url.PathUnescape(encoded)
	if err != nil {
		return nil, errNoCertificate
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errNoCertificate
	}
	digest := sha256.Sum256(block.Bytes)
	fingerprint := hex.EncodeToString(digest[:])
	peer, err := parseNames(block.Bytes)
	if err != nil {
		return withoutNames(fingerprint), err
	}
	peer.Fingerprint = fingerprint
	return peer, nil
}

// withoutNames returns a peer without names. Its lists are empty and not nil, since these differ in JSON.
func withoutNames(fingerprint string) *v1alpha.Peer {
	return &v1alpha.Peer{DNSNames: []string{}, URIs: []string{}, EmailAddresses: []string{}, IPAddresses: []string{}, Fingerprint: fingerprint}
}

func parseNames(der []byte) (*v1alpha.Peer, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	peer := withoutNames("")
	if peer.Subject, err = distinguishedName(certificate.RawSubject); err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	if peer.Issuer, err = distinguishedName(certificate.RawIssuer); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	for _, extension := range certificate.Extensions {
		if extension.Id.Equal(subjectAltName) {
			err = addNames(peer, extension.Value)
		}
	}
	return peer, err
}

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// The tags of GeneralName (RFC 5280, 4.2.1.6) that a peer has.
const (
	rfc822Name = 1
	dnsName    = 2
	uriName    = 6
	ipAddress  = 7
)

// addNames adds the GeneralNames of an extension. x509.Certificate has them too, but changes the text of URIs.
func addNames(peer *v1alpha.Peer, extension []byte) error {
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(extension, &names); err != nil || len(rest) > 0 {
		return errors.Join(errors.New("subject alternative names: expected a sequence of them"), err)
	}
	for _, name := range names {
		if name.Class != asn1.ClassContextSpecific {
			continue
		}
		switch name.Tag {
		case rfc822Name:
			peer.EmailAddresses = append(peer.EmailAddresses, string(name.Bytes))
		case dnsName:
			peer.DNSNames = append(peer.DNSNames, string(name.Bytes))
		case uriName:
			peer.URIs = append(peer.URIs, string(name.Bytes))
		case ipAddress:
			address, ok := netip.AddrFromSlice(name.Bytes)
			if !ok {
				return fmt.Errorf("subject alternative names: expected an address of 4 or 16 bytes, got %d", len(name.Bytes))
			}
			peer.IPAddresses = append(peer.IPAddresses, address.String())
		}
	}
	return nil
}
