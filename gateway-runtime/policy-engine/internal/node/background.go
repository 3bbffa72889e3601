package node

import (
	"context"
	"time"
)

// background carries the results of work in the background to the node's own goroutine, until the node is closed.
type background struct {
	built      chan *build
	rotated    chan rotationBuild
	departures chan departure
	arrived    []*build        // builds that are done and not yet acquired
	lifetime   context.Context // done once the node is closed
	close      context.CancelFunc
}

func newBackground() *background {
	b := &background{built: make(chan *build), rotated: make(chan rotationBuild), departures: make(chan departure)}
	b.lifetime, b.close = context.WithCancel(context.Background())
	return b
}

// deliver sends a result to the node's own goroutine. It returns false if the node is closed.
func deliver[T any](b *background, results chan<- T, result T) bool {
	select {
	case results <- result:
		return true
	case <-b.lifetime.Done():
		return false
	}
}

func (b *background) deliverDeparture(departure departure) { deliver(b, b.departures, departure) }

// wait waits until all builds are done, or none has finished for the time idle, and returns how many are not done.
func (b *background) wait(ctx context.Context, waiting map[*build]bool, idle time.Duration) (left int) {
	for _, finished := range b.arrived {
		delete(waiting, finished)
	}
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for len(waiting) > 0 {
		select {
		case finished := <-b.built:
			b.arrived = append(b.arrived, finished)
			delete(waiting, finished)
			timer.Reset(idle)
		case <-timer.C:
			return len(waiting)
		case <-ctx.Done():
			return len(waiting)
		}
	}
	return 0
}

// collect adds a build that is done, and all others that are done by now.
func (b *background) collect(first *build) {
	b.arrived = append(b.arrived, first)
	for {
		select {
		case finished := <-b.built:
			b.arrived = append(b.arrived, finished)
		default:
			return
		}
	}
}

// finished removes those of the builds that are done by now, and returns them. It waits so long for the first one. Other builds
// that are done arrive.
func (b *background) finished(builds map[*build]bool, wait time.Duration) (done []*build) {
	receive := func(finished *build) {
		if !builds[finished] {
			b.arrived = append(b.arrived, finished)
			return
		}
		delete(builds, finished)
		done = append(done, finished)
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case finished := <-b.built:
			receive(finished)
		case <-timer.C:
		}
	}
	for {
		select {
		case finished := <-b.built:
			receive(finished)
		default:
			return done
		}
	}
}

// drain returns the builds that are done, once.
func (b *background) drain() []*build {
	arrived := b.arrived
	b.arrived = nil
	return arrived
}
