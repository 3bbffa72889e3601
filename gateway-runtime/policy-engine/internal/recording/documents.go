package recording

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// documentBytes is the largest size of a document.
const documentBytes = 16 << 20

// Documents are the documents that a controller may request beside exchanges. Each function writes the present document; it is
// called from any goroutine.
type Documents map[nodev1.Document]func(io.Writer) error

func (d Documents) kinds() []nodev1.Document { return slices.Sorted(maps.Keys(d)) }

// sendDocument sends a document in pieces, or the reason why it cannot. It does not stop early: the end
// is near, and the controller ignores the rest.
func (o *observer) sendDocument(id uint64, which nodev1.Document) {
	write := o.recorder.options.Documents[which]
	if write == nil {
		o.refuse(id, fmt.Errorf("expected one of the documents of this engine, %v, got %v", o.recorder.options.Documents.kinds(), which))
		return
	}
	pieces := &pieces{observer: o, id: id, left: documentBytes}
	buffered := bufio.NewWriterSize(pieces, messageBytes)
	err := write(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		o.refuse(id, err)
		return
	}
	_ = o.send(&nodev1.Observed{Observation: id, Ended: true})
}

// pieces is a writer that sends a document.
type pieces struct {
	observer *observer
	id       uint64
	left     int
}

// Write sends its input in messages of a bounded size.
func (p *pieces) Write(written []byte) (int, error) {
	if p.left -= len(written); p.left < 0 {
		return 0, fmt.Errorf("expected a document of at most %d bytes, got more; the node's admin listener and its admin socket have all of it", documentBytes)
	}
	for piece := range slices.Chunk(written, messageBytes) {
		if err := p.observer.send(&nodev1.Observed{Observation: p.id, Piece: piece}); err != nil {
			return 0, err
		}
	}
	return len(written), nil
}
