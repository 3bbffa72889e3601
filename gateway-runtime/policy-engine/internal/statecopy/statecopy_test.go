package statecopy_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/certificates/certificatestest"
	"gatewright.dev/policy-engine/internal/node/controller/controllertest"
	"gatewright.dev/policy-engine/internal/node/signedstate"
	"gatewright.dev/policy-engine/internal/node/signedstate/signedstatetest"
	"gatewright.dev/policy-engine/internal/statecopy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// signer is a controller that sends the documents of a channel, in pieces of 100 bytes.
type signer struct {
	nodev1.UnimplementedNodeServiceServer
	documents chan []byte
	asked     chan *nodev1.StatesRequest
	refusal   error
}

func (s *signer) States(request *nodev1.StatesRequest, stream nodev1.NodeService_StatesServer) error {
	s.asked <- request
	if s.refusal != nil {
		return s.refusal
	}
	for {
		select {
		case document, more := <-s.documents:
			if !more {
				return nil
			}
			for len(document) > 0 {
				size := min(100, len(document))
				if err := stream.Send(&nodev1.StatePart{Tag: "tag", Piece: document[:size], Last: size == len(document)}); err != nil {
					return err
				}
				document = document[size:]
			}
		case <-stream.Context().Done():
			return nil
		}
	}
}

// start serves a signer until the test ends, and returns a client of it.
func (s *signer) start(t *testing.T) nodev1.NodeServiceClient {
	t.Helper()
	address := controllertest.SocketPath(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	nodev1.RegisterNodeServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	connection, err := grpc.NewClient("unix:"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return nodev1.NewNodeServiceClient(connection)
}

// follow follows the signer until the test ends.
func follow(t *testing.T, states *statecopy.Copy, client nodev1.NodeServiceClient) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = states.Follow(ctx, client) }()
	t.Cleanup(func() { cancel(); <-done })
}

// fleet is the folder of a node that serves states, and of one that starts from them.
type fleet struct {
	folder  string
	key     *signedstatetest.Key
	listen  statecopy.Listen
	sources *signedstate.Sources
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	folder := t.TempDir()
	f := &fleet{folder: folder, key: signedstatetest.NewKey(t, folder)}
	authority := certificatestest.NewAuthority(t, "authority")
	issued := authority.Issue("localhost")
	certificate, key := f.write(t, "sibling.pem", string(issued.Chain)), f.write(t, "sibling.key", string(issued.Key))
	token := f.write(t, "token", "shared by the nodes\n")
	f.listen = statecopy.Listen{Address: "127.0.0.1:0", Certificate: certificate, Key: key, Token: token}
	f.sources = &signedstate.Sources{Authority: f.key.Public, Token: token, TLSAuthority: f.write(t, "authority.pem", string(authority.PEM))}
	return f
}

func (f *fleet) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(f.folder, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (f *fleet) sign(t *testing.T, revision uint64) []byte {
	return f.key.Sign(t, &nodev1.Update{Revision: revision}, time.Now())
}

// serve serves states until the test ends.
func (f *fleet) serve(t *testing.T, states *statecopy.Copy) {
	t.Helper()
	if err := f.listen.Check(); err != nil {
		t.Fatal(err)
	}
	server, err := statecopy.NewServer(t.Context(), f.listen, states, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- server.Serve() }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	f.sources.Places = []string{"https://" + strings.Replace(server.Address(), "127.0.0.1", "localhost", 1) + signedstate.Path}
}

func (f *fleet) copy(folder string) *statecopy.Copy {
	return statecopy.New("n", nil, folder, f.listen.Token, slog.New(slog.DiscardHandler))
}

func TestANodeStartsFromTheCopyOfAnother(t *testing.T) {
	f, s := newFleet(t), &signer{documents: make(chan []byte), asked: make(chan *nodev1.StatesRequest, 9)}
	states := f.copy(f.folder)
	f.serve(t, states)
	if _, err := f.sources.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "expected the answer 200, got 404") {
		t.Errorf("expected no state yet, got %v", err)
	}
	follow(t, states, s.start(t))
	for revision := range uint64(3) {
		s.documents <- f.sign(t, revision+1)
		await.Until(t, "the state is served", func() bool {
			state, err := f.sources.Load(t.Context())
			return err == nil && state.Revision == revision+1
		})
	}
	if request := <-s.asked; request.GetNodeId() != "n" || request.GetKnown() != "" {
		t.Errorf("got %v", request)
	}

	later := f.copy(f.folder) // after a restart, without the controller
	f.serve(t, later)
	if state, err := f.sources.Load(t.Context()); err != nil || state.Revision != 3 {
		t.Errorf("expected the state of the run before, got %v, %v", state, err)
	}
}

func TestStrangersGetNoState(t *testing.T) {
	f := newFleet(t)
	f.write(t, "signed-state", string(f.sign(t, 1)))
	f.serve(t, f.copy(f.folder))
	if _, err := f.sources.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	own := f.sources.Token
	for _, token := range []string{"", f.write(t, "other", "another token")} {
		f.sources.Token = token
		if _, err := f.sources.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "got 401") {
			t.Errorf("token %q: expected 401, got %v", token, err)
		}
	}
	f.sources.Token, f.sources.Places[0] = own, strings.Replace(f.sources.Places[0], "https", "http", 1)
	if _, err := f.sources.Load(t.Context()); err == nil {
		t.Error("expected no answer in clear")
	}
}

func TestAHalfStateNeverTakesTheWholeOnesPlace(t *testing.T) {
	f, s := newFleet(t), &signer{documents: make(chan []byte), asked: make(chan *nodev1.StatesRequest, 9)}
	path := f.write(t, "signed-state", "the one before")
	client := s.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	states, ended := f.copy(f.folder), make(chan error)
	go func() { ended <- states.Follow(ctx, half{client, cancel}) }()
	s.documents <- f.sign(t, 1)
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("expected the end of the stream, got %v", err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "the one before" {
		t.Errorf("got %q, %v", content, err)
	}
	if err := states.Follow(t.Context(), refusing{}); err == nil {
		t.Error("expected an error")
	}
}

// half is a client whose stream ends after one piece.
type half struct {
	nodev1.NodeServiceClient
	end context.CancelFunc
}

func (h half) States(ctx context.Context, request *nodev1.StatesRequest, options ...grpc.CallOption) (grpc.ServerStreamingClient[nodev1.StatePart], error) {
	stream, err := h.NodeServiceClient.States(ctx, request, options...)
	return &halfStream{ServerStreamingClient: stream, end: h.end}, err
}

type halfStream struct {
	grpc.ServerStreamingClient[nodev1.StatePart]
	end      context.CancelFunc
	received int
}

func (h *halfStream) Recv() (*nodev1.StatePart, error) {
	if h.received++; h.received == 2 {
		h.end()
		return nil, status.Error(codes.Canceled, "cut off")
	}
	return h.ServerStreamingClient.Recv()
}

// refusing is a client that reaches nothing.
type refusing struct{ nodev1.NodeServiceClient }

func (refusing) States(context.Context, *nodev1.StatesRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[nodev1.StatePart], error) {
	return nil, errors.New("no controller")
}

func TestWhereAStateIsServedIsChecked(t *testing.T) {
	f := newFleet(t)
	listen := statecopy.Listen{Address: "here", Certificate: f.listen.Key, Key: f.listen.Key, Token: f.folder + "/none"}
	err := listen.Check()
	for _, want := range []string{`--state-listen: expected HOST:PORT, got "here"`, "--state-listen-certificate and --state-listen-key: expected a certificate with its key", "--state-token: expected a file with a token beside --state-listen"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
	if err := (statecopy.Listen{}).Check(); err != nil {
		t.Error(err)
	}
}
