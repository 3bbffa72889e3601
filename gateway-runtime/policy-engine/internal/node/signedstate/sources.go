package signedstate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Path is where controllers and nodes serve a state. The token is sent to URLs with this path alone: another one is a bucket's.
const Path = "/v1/state"

const (
	connectLimit  = 3 * time.Second
	answerLimit   = 10 * time.Second // until an answer begins
	fetchLimit    = 2 * time.Minute
	mostRedirects = 3
)

// Sources are the places that a node starts from, where it has no state of its own.
type Sources struct {
	Places       []string          // files and http(s) URLs, tried in this order
	Authority    string            // PEM file of the public keys whose signature counts
	Labels       map[string]string // of the node: a state that lacks what nodes with one of them run is refused
	Oldest       time.Duration     // older states are refused; 0: none are
	Token        string            // file with the token for other nodes and controllers; "": none
	TLSAuthority string            // PEM file of those who sign the certificates of https places; "": the system's
	Log          *slog.Logger
}

// Check returns what is wrong with places and files as they are now.
func (s *Sources) Check() error {
	if len(s.Places) == 0 {
		return nil
	}
	var errs []error
	for _, place := range s.Places {
		if _, err := parsePlace(place); err != nil {
			errs = append(errs, fmt.Errorf("--state-from: %w", err))
		}
	}
	if s.Authority == "" {
		errs = append(errs, errors.New("--state-authority: expected a file of public keys beside --state-from, got none: name the one of the controller that signs states"))
	} else if _, err := ReadAuthority(s.Authority); err != nil {
		errs = append(errs, fmt.Errorf("--state-authority: %w", err))
	}
	if s.Oldest < 0 {
		errs = append(errs, fmt.Errorf("--state-oldest: expected a time like 24h, or 0s for any, got %s", s.Oldest))
	}
	if _, err := s.client(); err != nil {
		errs = append(errs, fmt.Errorf("--state-tls-authority: %w", err))
	}
	if _, err := s.token(); err != nil {
		errs = append(errs, fmt.Errorf("--state-token: %w", err))
	}
	return errors.Join(errs...)
}

// Load returns the first state that can be used. An error has the reason of each place.
func (s *Sources) Load(ctx context.Context) (*State, error) {
	authority, err := ReadAuthority(s.Authority)
	if err != nil {
		return nil, err
	}
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	var errs []error
	for _, place := range s.Places {
		state, err := s.load(ctx, client, place, authority)
		if err == nil {
			return state, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", shown(place), err))
	}
	return nil, errors.Join(errs...)
}

func (s *Sources) load(ctx context.Context, client *http.Client, place string, authority Authority) (*State, error) {
	document, err := s.read(ctx, client, place)
	if err != nil {
		return nil, err
	}
	state, err := Verify(document, authority)
	if err != nil {
		return nil, err
	}
	if lacks := state.lacks(s.Labels); lacks != "" {
		return nil, fmt.Errorf("expected a state for nodes with %s, or with any labels, got one for nodes with %s, which lacks what nodes with %s run: export it with these labels, or without any",
			labelsText(s.Labels), labelsText(state.Labels), lacks)
	}
	if age := time.Since(state.Made); s.Oldest > 0 && age > s.Oldest {
		return nil, fmt.Errorf("expected a state that was made within %s, got one of %s: export it anew, or raise --state-oldest", s.Oldest, state.Made.UTC().Format(time.RFC3339))
	}
	state.Place = shown(place)
	return state, nil
}

func (s *Sources) read(ctx context.Context, client *http.Client, place string) ([]byte, error) {
	at, err := parsePlace(place)
	if err != nil {
		return nil, err
	}
	if at == nil {
		return readFile(place)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, errors.New("expected an http(s) URL, got another text")
	}
	if token, err := s.token(); err != nil {
		return nil, err
	} else if token != "" && at.Scheme == "https" && at.Path == Path {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("it gave no answer: %w", withoutURL(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("expected the answer 200, got %d", response.StatusCode)
	}
	return readBounded(response.Body)
}

func readFile(path string) ([]byte, error) {
	status, err := os.Stat(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	if !status.Mode().IsRegular() {
		return nil, errors.New("expected a file, got a folder, a pipe or a device")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() { _ = file.Close() }()
	return readBounded(file)
}

func readBounded(from io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(from, MostBytes+1))
	if err != nil {
		return nil, fmt.Errorf("expected a whole state, got a part of it: %w", withoutURL(err))
	}
	if len(content) > MostBytes {
		return nil, errTooLarge
	}
	return content, nil
}

// client returns a client that follows no redirect from https to http.
func (s *Sources) client() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.TLSAuthority != "" {
		content, err := os.ReadFile(s.TLSAuthority)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("%s: expected certificates (PEM), got none", s.TLSAuthority)
		}
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext:         (&net.Dialer{Timeout: connectLimit}).DialContext,
		TLSHandshakeTimeout: connectLimit, ResponseHeaderTimeout: answerLimit,
	}
	return &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) > mostRedirects || via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
			return fmt.Errorf("expected at most %d redirects, and none from https to http", mostRedirects)
		}
		return nil
	}}, nil
}

// token returns the content of the token's file; "": there is none.
func (s *Sources) token() (string, error) {
	if s.Token == "" {
		return "", nil
	}
	return ReadToken(s.Token)
}

// ReadToken returns the token in a file.
func ReadToken(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(content))
	if token == "" || strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("%s: expected one line with a token, got another content", path)
	}
	return token, nil
}

// parsePlace returns the URL of a place; nil: it is a file.
func parsePlace(place string) (*url.URL, error) {
	if place == "" {
		return nil, errors.New("expected a file or an http(s) URL, got none")
	}
	if !strings.Contains(place, "://") {
		return nil, nil
	}
	at, err := url.Parse(place)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Hostname() == "" {
		return nil, fmt.Errorf("expected a file or an http(s) URL, got %s", shown(place))
	}
	return at, nil
}

// shown returns a place for people: of a URL neither user and password nor the query, which signs a request to a bucket.
func shown(place string) string {
	scheme, rest, isURL := strings.Cut(place, "://")
	if !isURL {
		return place
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, "#")
	host, path, hasPath := strings.Cut(rest, "/")
	shown := scheme + "://" + host[strings.LastIndex(host, "@")+1:]
	if hasPath {
		shown += "/" + path
	}
	return shown
}

// withoutURL returns the reason of a client's error, which has the whole URL in its text.
func withoutURL(err error) error {
	if wrapped, is := errors.AsType[*url.Error](err); is {
		return wrapped.Err
	}
	return err
}

func withoutPath(err error) error {
	if wrapped, is := errors.AsType[*os.PathError](err); is {
		return wrapped.Err
	}
	return err
}
