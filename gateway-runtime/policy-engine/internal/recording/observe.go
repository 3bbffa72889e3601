package recording

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// messageBytes is about how many bytes of exchanges go into one message: what is sent one by one costs a controller more
// than what it is.
const messageBytes = 256 << 10

// Observe tells a controller what it asks to see, over one stream, until that or ctx ends.
func (r *Recorder) Observe(ctx context.Context, client nodev1.NodeServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Observe(ctx)
	if err != nil {
		return err
	}
	o := &observer{recorder: r, stream: stream, followers: map[uint64]*Follower{}, untold: map[uint64]uint64{}}
	defer o.stopUntold()
	defer o.telling.Wait()
	defer cancel()
	if err := o.send(&nodev1.Observed{NodeId: r.options.Node, Documents: r.options.Documents.known()}); err != nil {
		_, err = stream.Recv() // says why
		return err
	}
	for {
		wanted, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the controller ended the stream")
		}
		if err != nil {
			return err
		}
		o.receive(ctx, wanted)
	}
}

// observer is one stream to a controller.
type observer struct {
	recorder *Recorder
	sending  sync.Mutex
	stream   nodev1.NodeService_ObserveClient
	telling  sync.WaitGroup

	mutex     sync.Mutex
	followers map[uint64]*Follower // by the observation's id
	untold    map[uint64]uint64    // the observation's id → the recording's, which nobody follows
}

func (o *observer) send(message *nodev1.Observed) error {
	o.sending.Lock()
	defer o.sending.Unlock()
	return o.stream.Send(message)
}

func (o *observer) receive(ctx context.Context, wanted *nodev1.Observation) {
	id := wanted.GetId()
	if wanted.GetStop() {
		o.mutex.Lock()
		defer o.mutex.Unlock()
		if follower := o.followers[id]; follower != nil {
			follower.Stop()
		}
		o.recorder.Stop(o.untold[id]) // 0 is nobody's
		delete(o.untold, id)
		return
	}
	if which := wanted.GetDocument(); which != nodev1.Document_DOCUMENT_UNSPECIFIED {
		o.telling.Go(func() { o.tellDocument(id, which) })
		return
	}
	if wanted.GetUntold() {
		if err := o.record(wanted); err != nil {
			o.refuse(id, err)
		}
		return
	}
	if wanted.GetKept() {
		filter, err := ParseFilter(wanted.GetFilter())
		if err != nil {
			o.refuse(id, err)
			return
		}
		o.telling.Go(func() { o.tellKept(id, filter) })
		return
	}
	follower, err := o.follow(wanted)
	if err != nil {
		o.refuse(id, err)
		return
	}
	o.telling.Go(func() {
		defer o.forget(id, follower)
		o.tell(ctx, id, follower)
	})
}

// refuse says why an observation is not made. An error of sending is one of receiving, too.
func (o *observer) refuse(id uint64, err error) {
	_ = o.send(&nodev1.Observed{Observation: id, Ended: true, Refused: err.Error()})
}

func (o *observer) follow(wanted *nodev1.Observation) (*Follower, error) {
	filter, err := ParseFilter(wanted.GetFilter())
	if err != nil {
		return nil, err
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.followers[wanted.GetId()] != nil {
		return nil, errors.New("expected a new id, got that of an observation under way")
	}
	follower, err := o.recorder.Follow(filter, time.Duration(wanted.GetSeconds())*time.Second)
	if err == nil {
		o.followers[wanted.GetId()] = follower
	}
	return follower, err
}

// record has exchanges kept, of which nothing is told.
func (o *observer) record(wanted *nodev1.Observation) error {
	filter, err := ParseFilter(wanted.GetFilter())
	if err != nil {
		return err
	}
	begun, err := o.recorder.Start(filter, time.Duration(wanted.GetSeconds())*time.Second)
	if err != nil {
		return err
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.untold[wanted.GetId()] = begun.ID
	return nil
}

// stopUntold ends what a controller that is gone has asked for: it asks again when it is back.
func (o *observer) stopUntold() {
	for _, id := range o.untold {
		o.recorder.Stop(id)
	}
}

func (o *observer) forget(id uint64, follower *Follower) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	follower.Close()
	delete(o.followers, id)
}

// tell says that the observation has begun, and tells of exchanges as they end.
func (o *observer) tell(ctx context.Context, id uint64, follower *Follower) {
	if o.send(&nodev1.Observed{Observation: id}) != nil {
		return
	}
	for {
		exchanges, dropped, err := follower.Next(ctx)
		if errors.Is(err, io.EOF) {
			_ = o.send(&nodev1.Observed{Observation: id, Ended: true})
		}
		if err != nil {
			return
		}
		if o.sendAll(&nodev1.Observed{Observation: id, Dropped: dropped}, exchanges) != nil {
			return
		}
	}
}

// sendAll sends the exchanges, in as few messages as may be, the first of which is given.
func (o *observer) sendAll(message *nodev1.Observed, exchanges [][]byte) error {
	size := 0
	for _, exchange := range exchanges {
		if size > 0 && size+len(exchange) > messageBytes {
			if err := o.send(message); err != nil {
				return err
			}
			message, size = &nodev1.Observed{Observation: message.GetObservation()}, 0
		}
		message.Exchanges, size = append(message.Exchanges, exchange), size+len(exchange)
	}
	return o.send(message)
}

func (o *observer) tellKept(id uint64, filter Filter) {
	if exchanges := o.recorder.Kept(filter); len(exchanges) > 0 && o.sendAll(&nodev1.Observed{Observation: id}, exchanges) != nil {
		return
	}
	_ = o.send(&nodev1.Observed{Observation: id, Ended: true})
}
