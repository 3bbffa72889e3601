package store

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/valkey-io/valkey-go"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

func clientOption(settings *nodev1.ValkeyStore) (valkey.ClientOption, error) {
	option := valkey.ClientOption{
		InitAddress: []string{settings.GetAddress()}, ForceSingleClient: true, ClientName: "gatewright",
		Dialer: net.Dialer{Timeout: connectTimeout}, ConnWriteTimeout: 2 * connectTimeout,
		DisableRetry: true, // whether to try again is the policy's to know: an increment may have been made
		DisableCache: true,
		AuthCredentialsFn: func(valkey.AuthCredentialsContext) (valkey.AuthCredentials, error) {
			return credentials(settings)
		},
	}
	if !settings.GetTls() {
		return option, nil
	}
	config, err := tlsConfig(settings)
	option.TLSConfig = config
	return option, err
}

// credentials reads the password as its file has it now.
func credentials(settings *nodev1.ValkeyStore) (valkey.AuthCredentials, error) {
	known := valkey.AuthCredentials{Username: settings.GetUser()}
	if settings.GetPasswordFile() == "" {
		return known, nil
	}
	text, err := os.ReadFile(settings.GetPasswordFile())
	if err != nil {
		return known, fmt.Errorf("spec.store.valkey.passwordFile: %w", err)
	}
	known.Password = strings.TrimRight(string(text), "\r\n")
	return known, nil
}

func tlsConfig(settings *nodev1.ValkeyStore) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: settings.GetServerName()}
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(settings.GetAddress())
		if err != nil {
			return nil, fmt.Errorf("spec.store.valkey.address: %w", err)
		}
		config.ServerName = host
	}
	if file := settings.GetAuthorityFile(); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("spec.store.valkey.authorityFile: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("spec.store.valkey.authorityFile: %s: expected certificates in PEM, found none", file)
		}
	}
	return config, nil
}
