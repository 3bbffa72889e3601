package xds

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"gatewright.dev/policy-engine/internal/certificates"
)

// The prefixes of the SDS names of certificates and of authorities.
const (
	certificatePrefix = "certificate/"
	authorityPrefix   = "authority/"
)

func certificateOf(secret string) string { return nameAfter(certificatePrefix, secret) }
func authorityOf(secret string) string   { return nameAfter(authorityPrefix, secret) }

func nameAfter(prefix, secret string) string {
	name, found := strings.CutPrefix(secret, prefix)
	if !found {
		return ""
	}
	return name
}

// Secrets returns the contents of certificate files as SDS resources.
func Secrets(contents certificates.Contents) (Resources, error) {
	resources := Resources{}
	for name, content := range contents.Certificates {
		secret := &tlsv3.Secret{Name: certificatePrefix + name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline(content.Chain), PrivateKey: inline(content.Key)}}}
		if err := resources.addSecret(secret); err != nil {
			return nil, err
		}
	}
	for name, content := range contents.Authorities {
		trust := &tlsv3.CertificateValidationContext{TrustedCa: inline(content.Certificates)}
		if len(content.RevocationLists) > 0 {
			trust.Crl = inline(content.RevocationLists)
			trust.OnlyVerifyLeafCertCrl = !content.EachHasList // otherwise clients below an authority without a list are refused
		}
		secret := &tlsv3.Secret{Name: authorityPrefix + name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: trust}}
		if err := resources.addSecret(secret); err != nil {
			return nil, err
		}
	}
	return resources, nil
}

func (r Resources) addSecret(secret *tlsv3.Secret) error {
	text, err := marshal(secret)
	if err != nil {
		return fmt.Errorf("serialize %s: %w", secret.GetName(), err)
	}
	r[secret.GetName()] = newResource(secret.GetName(), SecretType, text)
	return nil
}

func inline(content []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: content}}
}

// secretsIn returns the SDS names in a message, at any depth, sorted. Only secrets that the engine serves are allowed: Envoy
// would wait forever for any other, or read a file that the operator has not named. The exception is the file of the node's own
// authorities, which Envoy reads itself.
func secretsIn(message proto.Message) ([]string, error) {
	var names []string
	var errs []error
	nodesOwn := map[*corev3.DataSource]bool{}
	walk(message, func(inner proto.Message) {
		switch typed := inner.(type) {
		case *tlsv3.SdsSecretConfig:
			if typed.GetSdsConfig().GetAds() == nil {
				errs = append(errs, fmt.Errorf("secret %q: expected sds_config by ads", typed.GetName()))
			}
			names = append(names, typed.GetName())
		case *tlsv3.CertificateValidationContext:
			nodesOwn[typed.GetTrustedCa()] = true
		case *corev3.DataSource:
			if !nodesOwn[typed] {
				errs = append(errs, checkInline(typed))
			}
		}
	})
	slices.Sort(names)
	return slices.Compact(names), errors.Join(errs...)
}

// checkInline refuses sources that would be read from the node's files or environment.
func checkInline(source *corev3.DataSource) error {
	if source.GetFilename() == "" && source.GetEnvironmentVariable() == "" {
		return nil
	}
	return fmt.Errorf("expected inline data or a secret named by SDS, got the file or variable %q", source.GetFilename()+source.GetEnvironmentVariable())
}

// change calls visit as walk does, and keeps changes inside of Any too.
func change(message proto.Message, visit func(proto.Message)) error {
	var errs []error
	visit(message)
	forEachMessage(message.ProtoReflect(), func(reflected protoreflect.Message) {
		inner := reflected.Interface()
		packed, ok := inner.(*anypb.Any)
		if !ok {
			errs = append(errs, change(inner, visit))
			return
		}
		unpacked, err := packed.UnmarshalNew()
		if err != nil {
			return // a type that is not linked in stays closed
		}
		err = change(unpacked, visit)
		if err == nil {
			packed.Value, err = marshal(unpacked)
		}
		errs = append(errs, err)
	})
	return errors.Join(errs...)
}

// walk calls visit for a message and all messages in it, inside of Any too; types that are not linked in stay closed.
func walk(message proto.Message, visit func(proto.Message)) {
	if packed, ok := message.(*anypb.Any); ok {
		if inner, err := packed.UnmarshalNew(); err == nil {
			walk(inner, visit)
		}
		return
	}
	visit(message)
	forEachMessage(message.ProtoReflect(), func(inner protoreflect.Message) { walk(inner.Interface(), visit) })
}
