package recording

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// documentBytes is what a document may have.
const documentBytes = 16 << 20

// Documents are what a controller may ask for beside exchanges. Each function writes the document as it is now; it is called
// from any goroutine.
type Documents map[nodev1.Document]func(io.Writer) error

func (d Documents) known() []nodev1.Document { return slices.Sorted(maps.Keys(d)) }

// tellDocument tells a document in pieces, and says where it cannot be told why. What is stopped meanwhile is told to its end:
// that is near, and the controller lets it go.
func (o *observer) tellDocument(id uint64, which nodev1.Document) {
	write := o.recorder.options.Documents[which]
	if write == nil {
		o.refuse(id, fmt.Errorf("expected one of the documents that this engine tells, %v, got %v", o.recorder.options.Documents.known(), which))
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

// pieces sends what is written.
type pieces struct {
	observer *observer
	id       uint64
	left     int
}

// Write sends it in messages of a bounded size.
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
