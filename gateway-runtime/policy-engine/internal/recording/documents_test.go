package recording_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/recording"
)

const (
	stats    = nodev1.Document_DOCUMENT_STATS
	metrics  = nodev1.Document_DOCUMENT_METRICS
	chains   = nodev1.Document_DOCUMENT_CHAINS
	clusters = nodev1.Document_DOCUMENT_CLUSTERS
)

// withDocuments returns a gateway whose node has these documents.
func withDocuments(documents recording.Documents) *gateway {
	return &gateway{recorder: recording.NewRecorder(recording.Options{
		Node: "node-1", Watches: &exchange.Watches{}, Documents: documents, Log: slog.New(slog.DiscardHandler)})}
}

func writes(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// document requests a document, and returns its content and the length of its longest piece.
func document(t *testing.T, stream nodev1.NodeService_ObserveServer, id uint64, which nodev1.Document) (text, refused string, longest int) {
	t.Helper()
	want(t, stream, &nodev1.Observation{Id: id, Document: which})
	var whole strings.Builder
	for {
		message := next(t, stream)
		if message.GetObservation() != id {
			t.Fatalf("expected observation %d, got %v", id, message.GetObservation())
		}
		whole.Write(message.GetPiece())
		longest = max(longest, len(message.GetPiece()))
		if message.GetEnded() {
			return whole.String(), message.GetRefused(), longest
		}
	}
}

func TestANodesFirstMessageListsItsDocuments(t *testing.T) {
	g := withDocuments(recording.Documents{stats: writes(""), metrics: writes("")})
	_, first := observedFirst(t, g)
	if !slices.Equal(first.GetDocuments(), []nodev1.Document{metrics, stats}) {
		t.Errorf("expected metrics and stats, got %v", first.GetDocuments())
	}
}

func TestADocumentComesInBoundedPieces(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 100_000) // 1.6 MB
	asked := 0
	stream := observed(t, withDocuments(recording.Documents{
		stats: func(w io.Writer) error {
			asked++
			_, err := fmt.Fprintf(w, `{"asked": %d}`, asked)
			return err
		},
		metrics: func(w io.Writer) error {
			for line := range slices.Chunk([]byte(long), 61) {
				if _, err := w.Write(line); err != nil {
					return err
				}
			}
			return nil
		},
		chains: writes(long), clusters: writes(""),
	}))
	for id, c := range []struct {
		which nodev1.Document
		want  string
	}{{stats, `{"asked": 1}`}, {metrics, long}, {chains, long}, {clusters, ""}, {stats, `{"asked": 2}`}} {
		text, refused, longest := document(t, stream, uint64(id)+1, c.which) //nolint:gosec // small
		if text != c.want || refused != "" || longest > 256<<10 {
			t.Errorf("%v: expected %d bytes in pieces of 256 KiB, got %d, %q, the longest of %d", c.which, len(c.want), len(text), refused, longest)
		}
	}
}

func TestFailuresOfDocuments(t *testing.T) {
	stream := observed(t, withDocuments(recording.Documents{
		stats:   writes(strings.Repeat("x", 16<<20+1)),
		metrics: func(w io.Writer) error { return errors.Join(writes("half")(w), errors.New("the disk is on fire")) },
		chains:  writes(strings.Repeat("x", 16<<20)),
	}))
	for id, c := range []struct {
		which nodev1.Document
		want  string
	}{
		{stats, "expected a document of at most 16777216 bytes, got more; the node's admin listener and its admin socket have all of it"},
		{metrics, "the disk is on fire"},
		{clusters, "expected one of the documents of this engine, [DOCUMENT_METRICS DOCUMENT_STATS DOCUMENT_CHAINS], got DOCUMENT_CLUSTERS"},
		{nodev1.Document(77), "expected one of the documents of this engine, [DOCUMENT_METRICS DOCUMENT_STATS DOCUMENT_CHAINS], got 77"},
		{chains, ""},
	} {
		if _, refused, _ := document(t, stream, uint64(id)+1, c.which); refused != c.want { //nolint:gosec // small
			t.Errorf("%v: expected %q, got %q", c.which, c.want, refused)
		}
	}
}

// TestExchangesAreSentWhileADocumentIsWritten: a slow document does not delay them.
func TestExchangesAreSentWhileADocumentIsWritten(t *testing.T) {
	finish := make(chan struct{})
	stream := observed(t, withDocuments(recording.Documents{stats: func(w io.Writer) error {
		<-finish
		return writes("done")(w)
	}}))
	want(t, stream, &nodev1.Observation{Id: 1, Document: stats})
	want(t, stream, &nodev1.Observation{Id: 2, Kept: true})
	if message := next(t, stream); message.GetObservation() != 2 || !message.GetEnded() {
		t.Errorf("expected what is kept, which is nothing, got %v", message)
	}
	want(t, stream, &nodev1.Observation{Id: 1, Stop: true}) // changes nothing
	close(finish)
	if message := next(t, stream); message.GetObservation() != 1 || string(message.GetPiece()) != "done" {
		t.Errorf("expected the document, got %v", message)
	}
	if message := next(t, stream); !message.GetEnded() {
		t.Errorf("expected its end, got %v", message)
	}
}
