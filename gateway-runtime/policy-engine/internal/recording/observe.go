package recording

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// messageBytes is the approximate number of bytes of exchanges in one message: exchanges sent one by one would cost a controller
// more than their content.
const messageBytes = 256 << 10

// Observe sends a controller the exchanges and documents that it requests, over one stream, until that or ctx ends.
func (r *Recorder) Observe(ctx context.Context, client nodev1.NodeServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Observe(ctx)
	if err != nil {
		return err
	}
	o := &observer{recorder: r, stream: stream, followers: map[uint64]*Follower{}, recordings: map[uint64]uint64{}}
	defer o.stopRecordings()
	defer o.senders.Wait()
	defer cancel()
	if err := o.send(&nodev1.Observed{NodeId: r.options.Node, Labels: r.options.Labels, Documents: r.options.Documents.kinds()}); err != nil {
		_, err = stream.Recv() // returns the reason
		return err
	}
	for {
		observation, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the controller ended the stream")
		}
		if err != nil {
			return err
		}
		o.receive(ctx, observation)
	}
}

// observer is one stream to a controller.
type observer struct {
	recorder *Recorder
	sending  sync.Mutex
	stream   nodev1.NodeService_ObserveClient
	senders  sync.WaitGroup

	mutex      sync.Mutex
	followers  map[uint64]*Follower // by the observation's id
	recordings map[uint64]uint64    // of observations that only record: the observation's id → the recording's
}

func (o *observer) send(message *nodev1.Observed) error {
	o.sending.Lock()
	defer o.sending.Unlock()
	return o.stream.Send(message)
}

func (o *observer) receive(ctx context.Context, observation *nodev1.Observation) {
	id := observation.GetId()
	if observation.GetStop() {
		o.mutex.Lock()
		defer o.mutex.Unlock()
		if follower := o.followers[id]; follower != nil {
			follower.Stop()
		}
		o.recorder.Stop(o.recordings[id]) // 0 is no recording's id
		delete(o.recordings, id)
		return
	}
	if document := observation.GetDocument(); document != nodev1.Document_DOCUMENT_UNSPECIFIED {
		o.senders.Go(func() { o.sendDocument(id, document) })
		return
	}
	if observation.GetRecordOnly() {
		if err := o.record(observation); err != nil {
			o.refuse(id, err)
		}
		return
	}
	if observation.GetKept() {
		filter, err := ParseFilter(observation.GetFilter())
		if err != nil {
			o.refuse(id, err)
			return
		}
		o.senders.Go(func() { o.sendKept(id, filter) })
		return
	}
	follower, err := o.follow(observation)
	if err != nil {
		o.refuse(id, err)
		return
	}
	o.senders.Go(func() {
		defer o.forget(id, follower)
		o.sendExchanges(ctx, id, follower)
	})
}

// refuse sends the reason why an observation is not made. If sending fails, so does receiving.
func (o *observer) refuse(id uint64, err error) {
	_ = o.send(&nodev1.Observed{Observation: id, Ended: true, Refused: err.Error()})
}

func (o *observer) follow(observation *nodev1.Observation) (*Follower, error) {
	filter, err := ParseFilter(observation.GetFilter())
	if err != nil {
		return nil, err
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.followers[observation.GetId()] != nil {
		return nil, errors.New("expected a new id, got that of an observation under way")
	}
	follower, err := o.recorder.Follow(filter, time.Duration(observation.GetSeconds())*time.Second)
	if err == nil {
		o.followers[observation.GetId()] = follower
	}
	return follower, err
}

// record starts a recording whose exchanges are kept and not sent.
func (o *observer) record(observation *nodev1.Observation) error {
	filter, err := ParseFilter(observation.GetFilter())
	if err != nil {
		return err
	}
	recording, err := o.recorder.Start(filter, time.Duration(observation.GetSeconds())*time.Second)
	if err != nil {
		return err
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.recordings[observation.GetId()] = recording.ID
	return nil
}

// stopRecordings stops the recordings of a controller that is gone: it requests them again when it is back.
func (o *observer) stopRecordings() {
	for _, id := range o.recordings {
		o.recorder.Stop(id)
	}
}

func (o *observer) forget(id uint64, follower *Follower) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	follower.Close()
	delete(o.followers, id)
}

// sendExchanges acknowledges the observation, and sends exchanges as they end.
func (o *observer) sendExchanges(ctx context.Context, id uint64, follower *Follower) {
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

// sendAll sends the exchanges in as few messages as possible, beginning with message.
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

func (o *observer) sendKept(id uint64, filter Filter) {
	if exchanges := o.recorder.Kept(filter); len(exchanges) > 0 && o.sendAll(&nodev1.Observed{Observation: id}, exchanges) != nil {
		return
	}
	_ = o.send(&nodev1.Observed{Observation: id, Ended: true})
}
