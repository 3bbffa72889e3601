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
func (b *background) wait(ctx context.Context, builds []*build, idle time.Duration) (left int) {
	waiting := make(map[*build]bool, len(builds))
	for _, pending := range builds {
		waiting[pending] = true
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

// drain returns the builds that are done, once.
func (b *background) drain() []*build {
	arrived := b.arrived
	b.arrived = nil
	return arrived
}
