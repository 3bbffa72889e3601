package certificates

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Pair is a certificate chain and its key, in PEM. They belong together.
type Pair struct {
	Chain, Key []byte
	Validity   Validity // of the first certificate
}

// Trust is certificates of authorities and their revocation lists, in PEM.
type Trust struct {
	Certificates    []byte
	RevocationLists []byte   // empty: none
	EachHasList     bool     // every authority has a revocation list
	Validity        Validity // of the certificate that expires first
	Lists           Validity // of the list that expires first; after that, clients with a certificate of its authority are refused
}

// leastRSABits is the shortest RSA key that Envoy accepts.
const leastRSABits = 2048

func parsePair(source Certificate, chain, key []byte) (Pair, error) {
	certificates, err := parseCertificates(chain)
	if err != nil {
		return Pair{}, fmt.Errorf("%s: %w", source.File, err)
	}
	leaf := certificates[0]
	if err := checkKind(leaf); err != nil {
		return Pair{}, fmt.Errorf("%s: %w", source.File, err)
	}
	if err := checkKey(key); err != nil {
		return Pair{}, fmt.Errorf("%s: %w", source.KeyFile, err)
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		return Pair{}, fmt.Errorf("%s: expected the private key of the first certificate in %s (%s), got another one: "+
			"name the key that it was made for, or put that certificate first", source.KeyFile, source.File, leaf.Subject)
	}
	return Pair{Chain: chain, Key: key, Validity: Validity{leaf.NotBefore, leaf.NotAfter}}, nil
}

// checkKind refuses the keys that Envoy would refuse.
func checkKind(leaf *x509.Certificate) error {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < leastRSABits {
			return fmt.Errorf("expected a key of at least %d bits, got RSA with %d: have it issued for a larger key", leastRSABits, bits)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
	}
	return fmt.Errorf("expected a certificate for a key of RSA, of ECDSA P-256, P-384 or P-521, or Ed25519, got %s: have it issued for such a key", leaf.PublicKeyAlgorithm)
}

// checkKey checks the form of a key. Its error quotes nothing of the key.
func checkKey(key []byte) error {
	for block, rest := pem.Decode(key); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return errors.New("expected a key without a passphrase, got an encrypted one: decrypt it, as by `openssl pkey`, and let the gateway's user alone read it")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if len(bytes.TrimSpace(rest)) > 0 && bytes.Contains(rest, []byte("-----BEGIN")) {
				if next, _ := pem.Decode(rest); next == nil {
					return errors.New("expected whole PEM blocks, got one without an end: write the file again")
				}
			}
			return nil
		}
	}
	return errors.New("expected a PEM block PRIVATE KEY, got none: name the file with the private key")
}

// parseCertificates parses all certificates of a PEM text; it skips everything else.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	err := forEachBlock(text, func(block *pem.Block) error {
		if block.Type != "CERTIFICATE" {
			return nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", len(certificates)+1, err)
		}
		certificates = append(certificates, certificate)
		return nil
	})
	if err == nil && len(certificates) == 0 {
		err = errors.New("expected a PEM block CERTIFICATE, got none: name a file in PEM form")
	}
	return certificates, err
}

// forEachBlock calls handle with each PEM block. It fails if a block has no end: the file is being written.
func forEachBlock(text []byte, handle func(*pem.Block) error) error {
	var errs []error
	block, rest := pem.Decode(text)
	for ; block != nil; block, rest = pem.Decode(rest) {
		errs = append(errs, handle(block))
	}
	if bytes.Contains(rest, []byte("-----BEGIN")) {
		errs = append(errs, errors.New("expected whole PEM blocks, got one without an end, or of something that is not base64: write the file again"))
	}
	return errors.Join(errs...)
}

func parseTrust(source Authority, authorities, lists []byte) (Trust, error) {
	certificates, err := parseCertificates(authorities)
	if err != nil {
		return Trust{}, fmt.Errorf("%s: %w", source.File, err)
	}
	trust := Trust{Certificates: authorities}
	for _, certificate := range certificates {
		trust.Validity = earlier(trust.Validity, Validity{certificate.NotBefore, certificate.NotAfter})
	}
	if source.RevocationFile == "" {
		return trust, nil
	}
	revocations, err := parseLists(lists, certificates)
	if err != nil {
		return Trust{}, fmt.Errorf("%s: %w", source.RevocationFile, err)
	}
	trust.RevocationLists = lists
	for _, certificate := range revocations {
		trust.Lists = earlier(trust.Lists, Validity{certificate.ThisUpdate, certificate.NextUpdate})
	}
	trust.EachHasList = true
	for _, certificate := range certificates {
		trust.EachHasList = trust.EachHasList && hasList(certificate, revocations)
	}
	return trust, nil
}

func parseLists(text []byte, authorities []*x509.Certificate) ([]*x509.RevocationList, error) {
	var result []*x509.RevocationList
	err := forEachBlock(text, func(block *pem.Block) error {
		if block.Type != "X509 CRL" {
			return nil
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return fmt.Errorf("revocation list %d: %w", len(result)+1, err)
		}
		result = append(result, list)
		for _, authority := range authorities {
			if list.CheckSignatureFrom(authority) == nil {
				return nil
			}
		}
		return fmt.Errorf("revocation list %d: expected one that an authority of the file beside it has signed, got one of %s", len(result), list.Issuer)
	})
	if err == nil && len(result) == 0 {
		err = errors.New("expected a PEM block X509 CRL, got none: name a file in PEM form, or none")
	}
	return result, err
}

func hasList(authority *x509.Certificate, lists []*x509.RevocationList) bool {
	for _, list := range lists {
		if list.CheckSignatureFrom(authority) == nil {
			return true
		}
	}
	return false
}

// earlier returns the validity that ends first; a zero end is never.
func earlier(a, b Validity) Validity {
	if a.Ends.IsZero() || !b.Ends.IsZero() && b.Ends.Before(a.Ends) {
		return b
	}
	return a
}
