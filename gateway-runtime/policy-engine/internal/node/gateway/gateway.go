// Package gateway applies a node's Gateway: secrets and then listeners to Envoy, and the last good version on disk. The version that
// Envoy has stays current until Envoy has accepted a newer one.
//
// State neither reports nor publishes: each change returns an Outcome, which says what follows from it.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/xds"
)

// Envoy is the part of an xDS server that a Gateway needs.
type Envoy interface {
	SetSecrets(ctx context.Context, secrets xds.Resources) error
	SetListeners(ctx context.Context, listeners xds.Resources) error
}

// Options configure a State.
type Options struct {
	File        *nodev1.Gateway // the Gateway to begin with, from a file; nil: none
	FileDigest  func() string   // digest of that file's present content; nil: the file does not change
	Directory   *statedir.Directory
	Engine      xds.Engine // where the engine runs that the listeners ask
	Envoy       Envoy
	Acknowledge time.Duration // how long to wait for Envoy's acknowledgement of an update
	Watch       time.Duration // between two checks of the certificates' files
	Retry       backoff.Doubling
	Log         *slog.Logger
}

// State is the node's Gateway: the version for Envoy, and a newer one that waits for a retry. One goroutine calls its methods.
type State struct {
	options Options
	log     *slog.Logger
	watcher *certificates.Watcher
	current *version              // nil: no Gateway, and no listener
	queued  *queued               // nil: none
	status  *nodev1.GatewayStatus // the newest; nil: no status yet
}

type queued struct {
	message  *nodev1.Gateway
	revision uint64
	tries    int
	retryAt  time.Time
	reason   string // as reported
}

// Outcome is what follows from a change of the Gateway.
type Outcome struct {
	Committed      *nodev1.Gateway  // the Gateway that has become the current one; nil: the current one is as before
	SecretsChanged bool             // bundles that were refused for lack of a secret may be accepted now
	Reports        []*nodev1.Report // for the controller, in this order
}

// IsEmpty reports whether nothing follows.
func (o Outcome) IsEmpty() bool {
	return o.Committed == nil && !o.SecretsChanged && len(o.Reports) == 0
}

func (o Outcome) with(reports ...*nodev1.Report) Outcome {
	o.Reports = append(o.Reports, reports...)
	return o
}

// Use is a secret that an upstream of a running API names.
type Use struct{ API, Secret string }

// New makes a state without a Gateway.
func New(options Options) *State {
	return &State{options: options, log: options.Log, watcher: certificates.NewWatcher(options.Watch, options.Log)}
}

// Close ends the watch of the certificates' files.
func (s *State) Close() { s.watcher.Close() }

// Changes yields the certificates' files after a change, for ReplaceCertificates.
func (s *State) Changes() <-chan certificates.Change { return s.watcher.Changes() }

// Front returns the Gateway's part of the routes.
func (s *State) Front() xds.Front {
	if s.current == nil {
		return xds.Front{}
	}
	return s.current.gateway.Front
}

// Apply makes a Gateway the node's, or reports why it cannot: then the current one stays.
func (s *State) Apply(ctx context.Context, message *nodev1.Gateway, revision uint64, uses []Use) Outcome {
	if s.current != nil && s.current.message.GetDigest() == message.GetDigest() {
		return s.keepCurrent(revision)
	}
	s.queued = &queued{message: message, revision: revision}
	return s.try(ctx, uses)
}

// keepCurrent handles an update that contains the current Gateway again. A newer one that is queued is dropped; if an Envoy has
// refused the current one, it is retried as before, and reported again.
func (s *State) keepCurrent(revision uint64) Outcome {
	s.current.revision = revision
	if q := s.queued; q != nil && q.message == s.current.message {
		q.revision, q.reason, q.retryAt = revision, "", time.Now()
		return Outcome{}
	}
	s.queued = nil
	if !s.current.acknowledged {
		return Outcome{}
	}
	s.save(s.current)
	return Outcome{}.with(s.report(s.current, nodev1.ApiStatus_STATE_APPLIED, ""))
}

// try takes the queued Gateway through all stages: check, read its files, secrets and then listeners to Envoy, store, report. If
// Envoy refuses it, Envoy is sent the current one again.
func (s *State) try(ctx context.Context, uses []Use) Outcome {
	q := s.queued
	candidate, err := s.read(q, uses)
	if err == nil {
		err = s.send(ctx, candidate)
		if err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
			s.sendCurrent(ctx)
		}
	}
	switch {
	case ctx.Err() != nil:
		return Outcome{}
	case err == nil:
		candidate.acknowledged = true
		s.save(candidate) // before the hello contains it
		return s.commit(candidate).with(s.report(candidate, nodev1.ApiStatus_STATE_APPLIED, ""))
	case errors.Is(err, xds.ErrNoEnvoy):
		candidate.previous = s.current.lastGood()
		return s.commit(candidate)
	default:
		return s.reject(q, err)
	}
}

// read checks a Gateway, and reads its files. Files that the current Gateway does not name must be usable.
func (s *State) read(q *queued, uses []Use) (*version, error) {
	gateway, err := xds.ParseGateway(q.message, s.options.Engine)
	if err != nil {
		return nil, err
	}
	if err := checkInUse(gateway, uses); err != nil {
		return nil, err
	}
	contents, failures := certificates.Load(gateway.Sources)
	if err := s.current.keepContents(gateway.Sources, contents, failures).Err(); err != nil {
		return nil, transient.Mark(err)
	}
	v := &version{message: q.message, gateway: gateway, revision: q.revision}
	if err := v.setContents(certificates.Change{Contents: contents, Failures: failures}); err != nil {
		return nil, err
	}
	s.logFailures(v)
	return v, nil
}

// checkInUse refuses a Gateway without a secret that an upstream of a running API names. The error is transient, since the same
// update may change that API.
func checkInUse(gateway *xds.Gateway, uses []Use) error {
	var errs []error
	for _, use := range uses {
		if !gateway.HasSecret(use.Secret) {
			errs = append(errs, transient.Mark(fmt.Errorf("expected %q, which the upstream of API %s names, got a Gateway without it", use.Secret, use.API)))
		}
	}
	return transient.Join(errs...)
}

// logFailures logs which files of a version cannot be used, and the listeners that are closed for it.
func (s *State) logFailures(v *version) {
	if err := v.failures.Err(); err != nil {
		s.log.Error("certificate files cannot be used: listeners go without these certificates, and those that need them are closed, until they can",
			"closed", v.gateway.ClosedWith(v.secrets), "reason", err.Error())
	}
}

// send sends Envoy secrets and then listeners, and waits for its acknowledgement of each.
func (s *State) send(ctx context.Context, v *version) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.options.Acknowledge, fmt.Errorf("waited %s", s.options.Acknowledge))
	defer cancel()
	secretsErr := s.options.Envoy.SetSecrets(ctx, v.secrets)
	if secretsErr != nil && !errors.Is(secretsErr, xds.ErrNoEnvoy) {
		return secretsErr
	}
	return errors.Join(s.options.Envoy.SetListeners(ctx, v.gateway.ListenersWith(v.secrets)), secretsErr)
}

// sendCurrent sends Envoy the current Gateway again, after it has refused another one, of which it may have applied a part.
func (s *State) sendCurrent(ctx context.Context) {
	current := s.current
	if current == nil {
		current = &version{gateway: &xds.Gateway{}, secrets: xds.Resources{}}
	}
	if err := s.send(ctx, current); err != nil && ctx.Err() == nil {
		s.log.Error("Envoy did not accept the Gateway that it had before", "error", err.Error())
	}
}

// commit makes a version the current one, and watches its files.
func (s *State) commit(v *version) Outcome {
	s.current, s.queued = v, nil
	s.watcher.Watch(v.gateway.Sources, v.contents, v.failures)
	return Outcome{Committed: v.message, SecretsChanged: true}
}

// reject reports why a Gateway is not applied. If the error is transient it is pending, and retried with back-off.
func (s *State) reject(q *queued, err error) Outcome {
	state, reason := nodev1.ApiStatus_STATE_REJECTED, strings.ToValidUTF8(err.Error(), "�")
	if transient.Is(err) {
		state, q.retryAt = nodev1.ApiStatus_STATE_PENDING, time.Now().Add(s.options.Retry.Wait(q.tries))
		q.tries++
	} else {
		s.queued = nil
	}
	if reason == q.reason {
		return Outcome{}
	}
	q.reason = reason
	return Outcome{}.with(s.report(&version{message: q.message, revision: q.revision}, state, reason))
}

// Restore chooses the first Gateway: the one stored last, if it replaced the present file, otherwise the file's. Its certificate
// files may be missing: the node waits for them.
func (s *State) Restore(ctx context.Context) Outcome {
	message := s.options.File
	stored, err := s.options.Directory.ReadGateway(s.options.File.GetDigest())
	if err != nil {
		s.log.Error("the last Gateway is damaged: it is ignored", "error", err.Error())
	} else if stored != nil {
		message = stored
	}
	if message == nil {
		return Outcome{}
	}
	v, err := s.readRestored(message)
	if err != nil && stored != nil {
		s.log.Error("the last Gateway cannot be used: the file's takes its place", "reason", err.Error())
		v, err = s.readRestored(s.options.File)
	}
	if err != nil {
		s.log.Error("the Gateway cannot be used: the node listens nowhere", "reason", err.Error())
		return Outcome{}
	}
	if err := s.send(ctx, v); err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
		s.log.Error("Envoy did not accept the Gateway", "reason", err.Error())
	}
	return s.commit(v)
}

// Seed stores a Gateway that Restore is to choose, as if a controller had sent it. One that is stored already stays.
func (s *State) Seed(message *nodev1.Gateway) {
	if stored, err := s.options.Directory.ReadGateway(s.options.File.GetDigest()); err == nil && stored == nil {
		s.save(&version{message: message})
	}
}

func (s *State) readRestored(message *nodev1.Gateway) (*version, error) {
	gateway, err := xds.ParseGateway(message, s.options.Engine)
	if err != nil {
		return nil, err
	}
	contents, failures := certificates.Load(gateway.Sources)
	v := &version{message: message, gateway: gateway}
	if err := v.setContents(certificates.Change{Contents: contents, Failures: failures}); err != nil {
		return nil, err
	}
	s.logFailures(v)
	return v, nil
}

// Confirm waits for the acknowledgement of an Envoy that has just connected. If it refuses a Gateway that no other Envoy has
// accepted, the previous Gateway comes back; otherwise the part that Envoy accepts is served, and the rest is retried.
func (s *State) Confirm(ctx context.Context) Outcome {
	v := s.current
	if v == nil {
		return Outcome{}
	}
	err := s.send(ctx, v)
	switch {
	case ctx.Err() != nil || errors.Is(err, xds.ErrNoEnvoy):
		return Outcome{}
	case err == nil:
		return s.acknowledge(v)
	case v.previous != nil:
		newer := s.queued
		outcome := s.commit(v.previous)
		s.sendCurrent(ctx)
		return outcome.with(s.refuseConnected(newer, v, err).Reports...)
	default:
		return s.refuseConnected(s.queued, v, transient.Mark(err))
	}
}

// refuseConnected rejects a version that an Envoy has refused as it connected. A newer one stays queued.
func (s *State) refuseConnected(newer *queued, v *version, err error) Outcome {
	q := &queued{message: v.message, revision: v.revision}
	s.queued = q
	outcome := s.reject(q, err)
	if newer != nil {
		s.queued = newer
	}
	return outcome
}

func (s *State) acknowledge(v *version) Outcome {
	wasAcknowledged := v.acknowledged
	v.acknowledged, v.previous = true, nil
	if wasAcknowledged {
		return Outcome{}
	}
	s.save(v)
	return Outcome{}.with(s.report(v, nodev1.ApiStatus_STATE_APPLIED, ""))
}

// NextRetry returns how long to wait for the next retry.
func (s *State) NextRetry(now time.Time) time.Duration {
	if s.queued == nil {
		return time.Hour
	}
	return max(0, s.queued.retryAt.Sub(now))
}

// Retry retries a Gateway that is due: a newer one, or the current one that an Envoy has refused.
func (s *State) Retry(ctx context.Context, uses []Use) Outcome {
	switch q := s.queued; {
	case q == nil || q.retryAt.After(time.Now()):
		return Outcome{}
	case s.current == nil || q.message != s.current.message:
		return s.try(ctx, uses)
	default:
		return s.retryCurrent(ctx, q)
	}
}

func (s *State) retryCurrent(ctx context.Context, q *queued) Outcome {
	err := s.send(ctx, s.current)
	switch {
	case errors.Is(err, xds.ErrNoEnvoy):
		s.queued = nil // the next Envoy that connects decides
		return Outcome{}
	case err != nil:
		return s.reject(q, transient.Mark(err))
	case s.current.acknowledged: // by an earlier Envoy
		s.queued = nil
		return Outcome{}.with(s.report(s.current, nodev1.ApiStatus_STATE_APPLIED, ""))
	default:
		s.queued = nil
		return s.acknowledge(s.current)
	}
}

// ReplaceCertificates serves the new content of certificate files, and opens the listeners that waited for it. If Envoy refuses
// it, the version returns to the previous content, so that an Envoy that connects next receives what the last one accepted.
func (s *State) ReplaceCertificates(ctx context.Context, files certificates.Change) Outcome {
	v := s.current
	previous := certificates.Change{Contents: v.contents, Failures: files.Failures}
	err := v.setContents(files)
	if err == nil {
		err = s.send(ctx, v)
	}
	if _, refused := errors.AsType[*xds.RefusedError](err); refused {
		err = errors.Join(err, v.setContents(previous))
		s.sendCurrent(ctx)
	}
	if err != nil && !errors.Is(err, xds.ErrNoEnvoy) && ctx.Err() == nil {
		s.log.Error("Envoy did not accept the new content of the certificate files; it serves their previous content", "reason", err.Error())
	}
	return Outcome{SecretsChanged: true}
}

// MissingSecrets returns an error for each secret that a bundle's clusters name and the node does not have. Envoy would wait for
// it, and hold back all clusters.
func (s *State) MissingSecrets(bundle *xds.Bundle) error {
	var errs []error
	for _, name := range bundle.Secrets {
		switch {
		case s.current == nil || !s.current.gateway.HasSecret(name):
			errs = append(errs, fmt.Errorf("upstream: expected a certificate or an authority that the Gateway has, got %q: name one of its, or add it to the Gateway", name))
		case s.current.secrets[name].Name == "":
			errs = append(errs, transient.Mark(fmt.Errorf("upstream: the files of %q cannot be used; the engine's log says why", name)))
		}
	}
	return transient.Join(errs...)
}

// report logs the outcome of a Gateway, and returns the report about it.
func (s *State) report(v *version, state nodev1.ApiStatus_State, reason string) *nodev1.Report {
	switch state {
	case nodev1.ApiStatus_STATE_REJECTED:
		s.log.Error("Gateway rejected", "revision", v.revision, "reason", reason)
	case nodev1.ApiStatus_STATE_PENDING:
		s.log.Warn("Gateway pending; it is retried", "revision", v.revision, "reason", reason)
	default:
		s.log.Info("Gateway applied", "revision", v.revision, "listeners", len(v.message.GetListeners()))
	}
	s.status = &nodev1.GatewayStatus{Digest: v.message.GetDigest(), State: state, Reason: reason}
	return &nodev1.Report{Revision: v.revision, Gateway: s.status}
}

// save stores a Gateway that Envoy has accepted, with the present digest of the file that it replaces: the file may have changed
// since the node began with it.
func (s *State) save(v *version) {
	file := s.options.File.GetDigest()
	if s.options.FileDigest != nil {
		file = s.options.FileDigest()
	}
	if err := s.options.Directory.WriteGateway(v.message, file); err != nil {
		s.log.Error("cannot store the Gateway: after a restart without controller the previous one would come back",
			"directory", s.options.Directory.Path(), "error", err.Error())
	}
}
