// Oidc_provider is an OpenID provider for tests: that of zitadel/oidc, with its storage in memory, and what tests do to
// one: they have it change its keys, and ask how often it was asked.
//
//	POST /control/keys?algorithm=ES256   a new key, published beside the others; it signs from now on. Answers its id
//	GET /control/requests                {"/keys": 3, …}: how often each path was asked
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	secret   = "a-secret-of-tests"
	audience = "orders"
	lifetime = time.Hour // of access tokens: longer than any test

	inspector = "inspector" // a public client, whose ID tokens have the claims about the user
)

// clients who get access tokens by client credentials, all with the same secret: which kind each one gets.
var clients = map[string]op.AccessTokenType{"reporting": op.AccessTokenTypeJWT, "opaque": op.AccessTokenTypeBearer}

func main() {
	listen := flag.String("listen", "127.0.0.1:9998", "where it listens, and so what its issuer is")
	redirect := flag.String("redirect", "http://127.0.0.1/callback", "where a login comes back to")
	inspectorRedirect := flag.String("inspector", "http://127.0.0.1/", "where a login of the public client comes back to")
	loggedOut := flag.String("logged-out", "http://127.0.0.1/", "where a logout comes back to")
	flag.Parse()
	issuer := "http://" + *listen
	storage.RegisterClients(
		storage.WebClient("gateway", secret, *redirect),
		storage.NativeClient(inspector, *inspectorRedirect),
	)
	s := &store{
		Storage:   storage.NewStorage(storage.NewUserStore(issuer)),
		loggedOut: *loggedOut,
		issued:    map[string]issued{},
		asked:     map[string]int{},
	}
	if _, err := s.rotate(jose.RS256); err != nil {
		log.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /control/keys", s.handleRotate)
	mux.HandleFunc("GET /control/requests", s.handleAsked)
	mux.Handle("/", s.counted(exampleop.SetupServer(issuer, s, logger, false)))
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: time.Minute}
	log.Fatal(server.ListenAndServe())
}

// store is the example's, with keys that change, and with clients that are no users.
type store struct {
	*storage.Storage
	loggedOut string
	lock      sync.Mutex
	keys      []*key // the last one signs
	issued    map[string]issued
	asked     map[string]int
	made      int
}

// issued is what an access token was issued for.
type issued struct {
	subject  string
	audience []string
	scopes   []string
	until    time.Time
}

// ---------------------------------------------------------------- keys

type key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

func (k *key) ID() string                                  { return k.id }
func (k *key) SignatureAlgorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k *key) Key() any                                    { return k.private }

// publicKey is what is published of a key.
type publicKey struct{ *key }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return k.algorithm }
func (publicKey) Use() string                          { return "sig" }
func (k publicKey) Key() any                           { return k.private.Public() }

func newKey(algorithm jose.SignatureAlgorithm) (crypto.Signer, error) {
	switch algorithm {
	case jose.RS256, jose.PS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, errors.New("expected RS256, PS256, ES256 or EdDSA, got " + string(algorithm))
}

func (s *store) rotate(algorithm jose.SignatureAlgorithm) (string, error) {
	private, err := newKey(algorithm)
	if err != nil {
		return "", err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.made++
	id := "key-" + strconv.Itoa(s.made)
	s.keys = append(s.keys, &key{id, algorithm, private})
	return id, nil
}

// SigningKey implements op.Storage.
func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.keys[len(s.keys)-1], nil
}

// SignatureAlgorithms implements op.Storage.
func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}, nil
}

// KeySet implements op.Storage.
func (s *store) KeySet(context.Context) ([]op.Key, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	var published []op.Key
	for _, signing := range s.keys {
		published = append(published, publicKey{signing})
	}
	return published, nil
}

// ---------------------------------------------------------------- logins

// website is a client that users log in at.
type website struct {
	op.Client
	loggedOut string
}

func (w website) PostLogoutRedirectURIs() []string     { return []string{w.loggedOut} }
func (w website) IDTokenUserinfoClaimsAssertion() bool { return w.GetID() == inspector }

// GetClientByClientID implements op.Storage.
func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := s.Storage.GetClientByClientID(ctx, id)
	return website{client, s.loggedOut}, err
}

// ---------------------------------------------------------------- tokens

// machine is a client that gets tokens for itself.
type machine struct {
	op.Client
	kind op.AccessTokenType
}

func (m machine) AccessTokenType() op.AccessTokenType { return m.kind }
func (machine) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials}
}

// ClientCredentials implements op.ClientCredentialsStorage.
func (s *store) ClientCredentials(_ context.Context, id, password string) (op.Client, error) {
	kind, known := clients[id]
	if !known || password != secret {
		return nil, errors.New("expected a client and its secret")
	}
	return machine{storage.WebClient(id, secret), kind}, nil
}

// ClientCredentialsTokenRequest implements op.ClientCredentialsStorage.
func (s *store) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{audience}, Scopes: scopes}, nil
}

// GetPrivateClaimsFromScopes implements op.Storage: an access token says what it is good for.
func (s *store) GetPrivateClaimsFromScopes(_ context.Context, _, _ string, scopes []string) (map[string]any, error) {
	return map[string]any{"scope": strings.Join(scopes, " "), "tenant": "blue"}, nil
}

// CreateAccessToken implements op.Storage.
func (s *store) CreateAccessToken(ctx context.Context, request op.TokenRequest) (string, time.Time, error) {
	id, _, err := s.Storage.CreateAccessToken(ctx, request)
	until := time.Now().Add(lifetime)
	s.lock.Lock()
	defer s.lock.Unlock()
	s.issued[id] = issued{request.GetSubject(), request.GetAudience(), request.GetScopes(), until}
	return id, until, err
}

// SetIntrospectionFromToken implements op.Storage: any client may ask about any token.
func (s *store) SetIntrospectionFromToken(_ context.Context, answer *oidc.IntrospectionResponse, id, _, _ string) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	token, known := s.issued[id]
	if !known || token.until.Before(time.Now()) {
		return errors.New("the token is not valid")
	}
	answer.Subject, answer.Scope, answer.Audience = token.subject, token.scopes, token.audience
	answer.Expiration = oidc.FromTime(token.until)
	return nil
}

// RevokeToken implements op.Storage: any client may revoke any token.
func (s *store) RevokeToken(_ context.Context, id, _, _ string) *oidc.Error {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.issued, id)
	return nil
}

// ---------------------------------------------------------------- what tests do

func (s *store) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.lock.Lock()
		s.asked[r.URL.Path]++
		s.lock.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (s *store) handleRotate(w http.ResponseWriter, r *http.Request) {
	id, err := s.rotate(jose.SignatureAlgorithm(r.FormValue("algorithm")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, id)
}

func (s *store) handleAsked(w http.ResponseWriter, _ *http.Request) {
	s.lock.Lock()
	asked := maps.Clone(s.asked)
	s.lock.Unlock()
	answer(w, asked)
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("content-type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}
