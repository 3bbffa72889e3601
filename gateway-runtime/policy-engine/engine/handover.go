package engine

import (
	"context"
	"errors"

	"gatewright.dev/policy-engine/internal/node"
)

// handover asks the engine to leave the node's updates to another engine, or to take them back.
type handover struct {
	away bool
	done chan struct{} // closed once it is so
}

// handOver prepares the engine for another one of the same node, which starts beside it and takes its place. It returns once
// no update is applied, nothing is written into the state directory, and the admin listener's port is free. Exchanges,
// executors and Envoy's connections go on. away false: the other engine did not start, and this one goes on as before.
func (e *Engine) handOver(ctx context.Context, away bool) error {
	if !e.ready.Load() {
		return errors.New("the engine is not ready; try again when it is")
	}
	wish := handover{away, make(chan struct{})}
	select {
	case e.handovers <- wish:
	case <-e.done:
		return errors.New("the engine has ended")
	case <-ctx.Done():
		return ctx.Err()
	}
	<-wish.done
	return nil
}

// updates runs the node's loop, which can be interrupted.
type updates struct {
	node    *node.Node
	cancel  context.CancelFunc
	stopped chan struct{}
}

func (u *updates) start(ctx context.Context) {
	running, cancel := context.WithCancel(ctx)
	u.cancel, u.stopped = cancel, make(chan struct{})
	go func() {
		defer close(u.stopped)
		u.node.Run(running)
	}()
}

func (u *updates) stop() {
	u.cancel()
	<-u.stopped
}

// answerHandover stops the updates, or goes on with them. The admin socket's file is the next engine's once this one has
// handed over, so it stays when this one ends.
func (e *Engine) answerHandover(ctx context.Context, wish handover, updates *updates, servers *servers) {
	defer close(wish.done)
	if wish.away == e.handedOver {
		return
	}
	e.handedOver = wish.away
	if socket, ok := servers.admin.listener.(interface{ SetUnlinkOnClose(unlink bool) }); ok {
		socket.SetUnlinkOnClose(!wish.away)
	}
	if wish.away {
		updates.stop()
		e.adminListener.Listen(nil) //nolint:contextcheck // responses under way end, however long the run lasts
		e.options.Log.Info("another engine takes the place of this one: updates are left to it")
		return
	}
	e.node.ForgetStored()
	e.setAdmin(e.adminSettings.Load()) //nolint:contextcheck // as above
	updates.start(ctx)
	e.options.Log.Info("no other engine takes the place of this one: it applies updates again")
}
