package store

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// remote is a store in a Valkey. A goroutine probes the server: while it does not answer, calls fail at
// once, so that no exchange waits for a server that is down.
type remote struct {
	settings *nodev1.ValkeyStore
	timeout  time.Duration
	log      *slog.Logger
	client   atomic.Pointer[valkey.Client] // nil: not connected yet
	away     atomic.Pointer[string]        // why the server does not answer; nil while it does
	doubts   chan struct{}                 // has a token after a failed call
	stop     context.CancelFunc
	stopped  chan struct{}
	closing  sync.WaitGroup // of replaced clients

	fixedTime func() time.Duration // for tests: in place of the server's clock
}

const (
	defaultTimeout = 100 * time.Millisecond
	probeWhileWell = 500 * time.Millisecond
	probeWhileAway = 250 * time.Millisecond
	probeTimeout   = 500 * time.Millisecond // or the timeout of calls, if longer
	connectTimeout = time.Second
)

func same(a, b *nodev1.ValkeyStore) bool { return (a == nil) == (b == nil) && proto.Equal(a, b) }

func newRemote(settings *nodev1.ValkeyStore, log *slog.Logger) *remote {
	timeout := time.Duration(settings.GetTimeoutMs()) * time.Millisecond
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &remote{settings: settings, timeout: timeout, log: log, doubts: make(chan struct{}, 1), stop: stop, stopped: make(chan struct{})}
	connecting := "it has not been connected yet"
	r.away.Store(&connecting)
	go r.watch(ctx)
	return r
}

// close closes the connection. Calls under way fail.
func (r *remote) close() {
	r.stop()
	<-r.stopped
}

// standing returns why the server does not answer, or nil.
func (r *remote) standing() error {
	if why := r.away.Load(); why != nil {
		return v1alpha.Failf(v1alpha.ClassUnavailable, "the store, Valkey at %s, does not answer: %s", r.settings.GetAddress(), *why)
	}
	return nil
}

// ---------------------------------------------------------------- whether it answers

func (r *remote) watch(ctx context.Context) {
	defer close(r.stopped)
	logged := false
	for {
		r.note(ctx, r.probe(ctx), &logged)
		wait := probeWhileWell
		if r.away.Load() != nil {
			wait = probeWhileAway
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			r.end()
			return
		case <-r.doubts:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (r *remote) end() {
	closed := "the Gateway names another store, or the engine ends"
	r.away.Store(&closed)
	if client := r.client.Load(); client != nil {
		(*client).Close()
	}
	r.closing.Wait()
}

// probe checks that the server accepts writes, which a replica, or a server that still loads its data, does
// not. While the server is down a probe connects again: a client has several connections, and after a restart of the
// server the next call of each would fail.
func (r *remote) probe(ctx context.Context) error {
	client := r.client.Load()
	if client == nil || r.away.Load() != nil {
		connected, err := r.connect()
		if err != nil {
			return err
		}
		client = &connected
		r.replace(client)
	}
	ctx, cancel := context.WithTimeout(ctx, max(probeTimeout, r.timeout))
	defer cancel()
	return ping.Exec(ctx, *client, []string{r.settings.GetPrefix() + "ping"}, nil).Error()
}

// replace makes client the one for calls, and closes the previous one, which takes a second if its server is silent.
func (r *remote) replace(client *valkey.Client) {
	if previous := r.client.Swap(client); previous != nil {
		r.closing.Go((*previous).Close)
	}
}

// note records the result of a probe, by which calls are made or fail at once, and logs the change.
func (r *remote) note(ctx context.Context, err error, logged *bool) {
	address := r.settings.GetAddress()
	if err == nil {
		if r.away.Swap(nil) != nil {
			r.log.Info("the store answers", "address", address)
		}
		*logged = false
		return
	}
	if ctx.Err() != nil {
		return
	}
	reason := err.Error()
	r.away.Store(&reason)
	if !*logged {
		r.log.Warn("the store does not answer; calls fail until it does", "address", address, "cause", reason)
	}
	*logged = true
}

// doubt requests a probe at once.
func (r *remote) doubt() {
	select {
	case r.doubts <- struct{}{}:
	default:
	}
}

// ---------------------------------------------------------------- the connection

func (r *remote) connect() (valkey.Client, error) {
	client, err := valkey.NewClient(clientOption(r.settings))
	if err != nil {
		return nil, refusedInClear(r.settings, err)
	}
	return client, nil
}

// call makes a call within the timeout of calls.
func (r *remote) call(ctx context.Context, f func(context.Context, valkey.Client) error) error {
	if err := r.standing(); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	client := r.client.Load()
	err := f(within, *client)
	if err == nil {
		return nil
	}
	return r.failure(ctx, within, client, err)
}

// failure returns the error of a call, and requests a probe if the server may be the cause.
func (r *remote) failure(ctx, within context.Context, client *valkey.Client, err error) error {
	if refused, ok := valkey.IsValkeyErr(err); ok {
		return r.refusal(refused)
	}
	switch {
	case ctx.Err() != nil: // the caller no longer waits
	case within.Err() != nil:
		r.doubt()
	case client != r.client.Load(): // replaced meanwhile: the call says nothing about the present client
	default:
		reason := err.Error()
		r.away.CompareAndSwap(nil, &reason)
		r.doubt()
	}
	return v1alpha.Failf(v1alpha.ClassUnavailable, "the store, Valkey at %s: %v", r.settings.GetAddress(), err)
}
