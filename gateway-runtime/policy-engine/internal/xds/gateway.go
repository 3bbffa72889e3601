package xds

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/certificates"
)

// Gateway is the configuration of a node's listeners, decoded and checked once. It is immutable.
type Gateway struct {
	Digest    string
	Listeners Resources
	Sources   certificates.Sources // the files of its certificates and authorities
	Front     Front                // the Gateway's part of the routes
	needs     map[string][]string  // the names of a listener's secrets, by the listener's name
}

// ParseGateway decodes a Gateway and checks all of it that can be checked without Envoy and without its files. The error
// lists every mistake with its place. The listeners are those for an engine in this place.
func ParseGateway(message *nodev1.Gateway, engine Engine) (*Gateway, error) {
	gateway := &Gateway{
		Digest: message.GetDigest(), Listeners: Resources{}, Front: NewFront(message.GetAnswersChallenges(), message.GetInternalListeners()), needs: map[string][]string{},
	}
	errs := gateway.parseSources(message)
	for i, text := range message.GetListeners() {
		listener := &listenerv3.Listener{}
		err := parse(text, listener)
		if err == nil {
			err = gateway.addListener(listener, text, engine)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("listeners[%d] %q: %w", i, listener.GetName(), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return gateway, nil
}

// HasSecret reports whether the Gateway has the certificate or authority of an SDS name.
func (g *Gateway) HasSecret(name string) bool {
	_, certificate := g.Sources.Certificates[certificateOf(name)]
	_, authority := g.Sources.Authorities[authorityOf(name)]
	return certificate || authority
}

// ListenersWith returns the listeners that can be opened with these secrets: Envoy would wait for a missing one, and hold back
// all other listeners. A listener with several certificates is opened with those that exist; a listener whose hosts request
// different client certificates, with the hosts whose authority exists.
func (g *Gateway) ListenersWith(secrets Resources) Resources {
	isMissing := func(secret string) bool { return secrets[secret].Name == "" }
	open := Resources{}
	for name, listener := range g.Listeners {
		if !slices.ContainsFunc(g.needs[name], isMissing) {
			open[name] = listener
		} else if trimmed, err := withoutCertificates(listener, isMissing); err == nil {
			open[name] = trimmed
		}
	}
	return open
}

// ClosedWith returns the names of the listeners that cannot be opened with these secrets, sorted.
func (g *Gateway) ClosedWith(secrets Resources) []string {
	open := g.ListenersWith(secrets)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(g.Listeners)), func(name string) bool { return open[name].Name != "" })
}

// withoutCertificates returns a listener without missing certificates, and without the filter chains that cannot do without
// them: chains with no other certificate, and chains whose clients' authority is missing, which would
// admit any client. No other chain serves the hosts of a removed one: each refuses the hosts of the others
// (host_groups.py of the controller). If no chain remains, it returns an error.
func withoutCertificates(listener Resource, isMissing func(string) bool) (Resource, error) {
	message := &listenerv3.Listener{}
	if err := parse(listener.Text(), message); err != nil {
		return Resource{}, err
	}
	if err := change(message, func(inner proto.Message) {
		if tls, ok := inner.(*tlsv3.CommonTlsContext); ok {
			dropMissing(tls, isMissing)
		}
	}); err != nil {
		return Resource{}, err
	}
	if err := dropChains(message, isMissing); err != nil {
		return Resource{}, err
	}
	text, err := marshal(message)
	if err != nil {
		return Resource{}, err
	}
	return newResource(listener.Name, ListenerType, text), nil
}

// dropChains removes the filter chains that need a missing secret.
func dropChains(listener *listenerv3.Listener, isMissing func(string) bool) error {
	var errs []error
	listener.FilterChains = slices.DeleteFunc(listener.GetFilterChains(), func(chain *listenerv3.FilterChain) bool {
		needed, err := secretsIn(chain)
		errs = append(errs, err)
		return slices.ContainsFunc(needed, isMissing)
	})
	if len(listener.GetFilterChains()) == 0 {
		errs = append(errs, errors.New("each of its filter chains needs a secret that is missing"))
	}
	return errors.Join(errs...)
}

// dropMissing removes missing certificates, unless all of them are missing.
func dropMissing(tls *tlsv3.CommonTlsContext, isMissing func(string) bool) {
	present := slices.DeleteFunc(slices.Clone(tls.GetTlsCertificateSdsSecretConfigs()), func(config *tlsv3.SdsSecretConfig) bool {
		return isMissing(config.GetName())
	})
	if len(present) > 0 {
		tls.TlsCertificateSdsSecretConfigs = present
	}
}

func (g *Gateway) addListener(listener *listenerv3.Listener, text []byte, engine Engine) error {
	name := listener.GetName()
	switch _, double := g.Listeners[name]; {
	case name == "":
		return errors.New("name: expected one, got none")
	case double:
		return errors.New("name: stands twice in the Gateway")
	}
	secrets, err := secretsIn(listener)
	for _, secret := range secrets {
		if !g.HasSecret(secret) {
			err = errors.Join(err, fmt.Errorf("expected one of the Gateway's certificates and authorities (%s), got %q", g.sourceNames(), secret))
		}
	}
	if err := errors.Join(err, checkManagers(listener)); err != nil {
		return err
	}
	if text, err = engine.listener(listener, text); err != nil {
		return err
	}
	g.needs[name] = secrets
	g.Listeners[name] = newResource(name, ListenerType, text)
	return nil
}

// checkManagers checks that HTTP connection managers use the engine's routes and its ext_proc filter: Envoy would wait forever for
// other routes, and without the filter no policy would run.
func checkManagers(listener *listenerv3.Listener) error {
	var errs []error
	walk(listener, func(message proto.Message) {
		manager, ok := message.(*hcmv3.HttpConnectionManager)
		if !ok || manager.GetRds() == nil {
			return
		}
		if rds := manager.GetRds(); rds.GetRouteConfigName() != envoynames.RouteConfiguration || rds.GetConfigSource().GetAds() == nil {
			errs = append(errs, fmt.Errorf("rds: expected route_config_name %q by ads, got %q", envoynames.RouteConfiguration, rds.GetRouteConfigName()))
		}
		if !slices.ContainsFunc(manager.GetHttpFilters(), func(f *hcmv3.HttpFilter) bool { return f.GetName() == envoynames.ExtProcFilter }) {
			errs = append(errs, fmt.Errorf("http_filters: expected %s, got none: no policy would run", envoynames.ExtProcFilter))
		}
		if len(manager.GetUpgradeConfigs()) > 0 {
			errs = append(errs, errors.New("upgrade_configs: expected none, since routes have them, where no policy wants a body"))
		}
	})
	return errors.Join(errs...)
}

func (g *Gateway) sourceNames() string {
	var names []string
	for name := range g.Sources.Certificates {
		names = append(names, envoynames.CertificateSecretPrefix+name)
	}
	for name := range g.Sources.Authorities {
		names = append(names, envoynames.AuthoritySecretPrefix+name)
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

func (g *Gateway) parseSources(message *nodev1.Gateway) (errs []error) {
	g.Sources = certificates.Sources{Certificates: map[string]certificates.Certificate{}, Authorities: map[string]certificates.Authority{}}
	for i, source := range message.GetCertificates() {
		if err := checkSource(source.GetName(), g.Sources.Certificates, source.GetCertificateFile(), source.GetKeyFile()); err != nil {
			errs = append(errs, fmt.Errorf("certificates[%d] %q: %w", i, source.GetName(), err))
		}
		g.Sources.Certificates[source.GetName()] = certificates.Certificate{
			File: source.GetCertificateFile(), KeyFile: source.GetKeyFile(), Renewed: source.GetRenewed()}
	}
	for i, source := range message.GetAuthorities() {
		files := []string{source.GetFile()}
		if source.GetRevocationFile() != "" {
			files = append(files, source.GetRevocationFile())
		}
		if err := checkSource(source.GetName(), g.Sources.Authorities, files...); err != nil {
			errs = append(errs, fmt.Errorf("authorities[%d] %q: %w", i, source.GetName(), err))
		}
		g.Sources.Authorities[source.GetName()] = certificates.Authority{File: source.GetFile(), RevocationFile: source.GetRevocationFile()}
	}
	return errs
}

func checkSource[S any](name string, others map[string]S, files ...string) error {
	var errs []error
	if _, double := others[name]; double {
		errs = append(errs, errors.New("name: stands twice in the Gateway"))
	}
	if name == "" {
		errs = append(errs, errors.New("name: expected one, got none"))
	}
	for _, file := range files {
		if !filepath.IsAbs(file) {
			errs = append(errs, fmt.Errorf("expected the absolute path of a file, got %q", file))
		}
	}
	return errors.Join(errs...)
}
