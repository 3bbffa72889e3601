// Package statecopy keeps the newest signed state of the controller, and serves it to nodes that start from this one.
package statecopy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/node/signedstate"
)

const file = "signed-state" // in the state directory

// writeAgain is the wait after a state that could not be stored: the controller would make it again.
const writeAgain = 30 * time.Second

// Copy is the newest signed state, in a file: it may be large.
type Copy struct {
	node, path string
	labels     map[string]string // of the node
	token      string            // file with the token of those who may ask for it
	log        *slog.Logger

	mutex   sync.Mutex
	tag     string // of the state in the file; "": not known in this run
	refusal string // as logged
}

// New makes a copy in a state directory. The state of an earlier run is served until a controller sends another.
func New(node string, labels map[string]string, directory, token string, log *slog.Logger) *Copy {
	return &Copy{node: node, labels: labels, path: filepath.Join(directory, file), token: token, log: log}
}

// Follow keeps the copy at what the controller sends, until ctx or the stream ends.
func (c *Copy) Follow(ctx context.Context, client nodev1.NodeServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.States(ctx, &nodev1.StatesRequest{NodeId: c.node, Known: c.known(""), Labels: c.labels})
	if err != nil {
		return err
	}
	for {
		err := c.receive(stream)
		if err == nil {
			continue
		}
		c.logRefusal(err)
		if _, isStream := status.FromError(err); !isStream && !errors.Is(err, io.EOF) {
			backoff.Sleep(ctx, writeAgain)
		}
		return err
	}
}

// receive receives one state into a new file, which takes the place of the earlier one once it is whole.
func (c *Copy) receive(stream nodev1.NodeService_StatesClient) error {
	part, err := stream.Recv()
	if err != nil {
		return err
	}
	scratch, err := os.OpenFile(c.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = scratch.Close() }()
	for size := len(part.GetPiece()); ; size += len(part.GetPiece()) {
		if size > signedstate.MostBytes {
			return fmt.Errorf("expected a state of at most %d bytes, got more", signedstate.MostBytes)
		}
		if _, err := scratch.Write(part.GetPiece()); err != nil {
			return err
		}
		if part.GetLast() {
			break
		}
		if part, err = stream.Recv(); err != nil {
			return err
		}
	}
	if err := errors.Join(scratch.Sync(), os.Rename(c.path+".new", c.path)); err != nil {
		return err
	}
	c.known(part.GetTag())
	return nil
}

// known sets the tag of the state in the file, unless it is "", and returns it.
func (c *Copy) known(tag string) string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if tag != "" {
		c.tag, c.refusal = tag, ""
	}
	return c.tag
}

// logRefusal logs once why there is no newer state. A controller that is away is logged by the stream of updates.
func (c *Copy) logRefusal(err error) {
	code := status.Code(err)
	if code == codes.Unavailable || code == codes.Canceled || errors.Is(err, io.EOF) {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if reason := status.Convert(err).Message(); reason != c.refusal {
		c.refusal = reason
		c.log.Error("no signed state for other nodes could be kept; it is tried again", "reason", reason)
	}
}

// ServeHTTP answers with the state, to requests with the token alone.
func (c *Copy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, err := signedstate.ReadToken(c.token)
	if err != nil {
		c.log.Error("the token for signed states cannot be read: none is served", "error", err.Error())
		http.Error(w, "the token of this node cannot be read; its log says why", http.StatusInternalServerError)
		return
	}
	if !isBearer(r, token) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "expected the header 'Authorization: Bearer TOKEN' with the token of --state-token-file", http.StatusUnauthorized)
		return
	}
	state, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "this node has no signed state yet: its controller sends one, if it has a key (--state-key)", http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, "the signed state cannot be read", http.StatusInternalServerError)
		return
	}
	defer func() { _ = state.Close() }()
	info, err := state.Stat()
	if err != nil {
		http.Error(w, "the signed state cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", info.ModTime(), state)
}

func isBearer(r *http.Request, token string) bool {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(strings.TrimSpace(text)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}
