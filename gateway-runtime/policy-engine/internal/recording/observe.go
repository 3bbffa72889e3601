package recording

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// Observe tells a controller what it asks to see, over one stream, until that or ctx ends.
func (r *Recorder) Observe(ctx context.Context, client nodev1.NodeServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Observe(ctx)
	if err != nil {
		return err
	}
	o := &observer{recorder: r, stream: stream, followers: map[uint64]*Follower{}}
	defer o.telling.Wait()
	defer cancel()
	if err := o.send(&nodev1.Observed{NodeId: r.options.Node}); err != nil {
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

func (o *observer) forget(id uint64, follower *Follower) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	follower.Close()
	delete(o.followers, id)
}

// tell tells of exchanges as they end.
func (o *observer) tell(ctx context.Context, id uint64, follower *Follower) {
	for {
		exchanges, dropped, err := follower.Next(ctx)
		if errors.Is(err, io.EOF) {
			_ = o.send(&nodev1.Observed{Observation: id, Ended: true})
		}
		if err != nil {
			return
		}
		if len(exchanges) == 0 { // all of them were dropped
			exchanges = [][]byte{nil}
		}
		for _, exchange := range exchanges {
			if o.send(&nodev1.Observed{Observation: id, Exchange: exchange, Dropped: dropped}) != nil {
				return
			}
			dropped = 0
		}
	}
}

func (o *observer) tellKept(id uint64, filter Filter) {
	for _, exchange := range o.recorder.Kept(filter) {
		if o.send(&nodev1.Observed{Observation: id, Exchange: exchange}) != nil {
			return
		}
	}
	_ = o.send(&nodev1.Observed{Observation: id, Ended: true})
}
